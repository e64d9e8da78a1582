//! An upstream that answers the heads of requests, which have no bodies, as each experiment says.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// An answer, and when it comes.
#[derive(Default)]
pub struct Answer {
    pub body: String,
    /// How long its head waits.
    pub before: Duration,
    /// How long its body waits after that.
    pub between: Duration,
}

/// Starts one; it lasts as long as the process.
pub async fn start(answer: fn(&str) -> Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream, answer));
        }
    });
    address
}

/// A head's end is a request's end.
async fn serve(mut stream: TcpStream, answer: fn(&str) -> Answer) {
    let mut buffer = Vec::new();
    loop {
        while let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            if send(&mut stream, answer(&String::from_utf8_lossy(&head))).await.is_err() {
                return;
            }
        }
        if !stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
            return;
        }
    }
}

async fn send(stream: &mut TcpStream, Answer { body, before, between }: Answer) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    if !before.is_zero() {
        sleep(before).await;
    }
    if between.is_zero() {
        return stream.write_all(format!("{head}{body}").as_bytes()).await;
    }
    stream.write_all(head.as_bytes()).await?;
    sleep(between).await;
    stream.write_all(body.as_bytes()).await
}
