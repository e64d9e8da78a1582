//! The upstream: answers `/.../N` with `N` after N milliseconds, of which `/.../body/N` waits between head and body.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Starts one; it lasts as long as the process.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Requests have no body, so that a head's end is a request's end.
async fn serve(mut stream: TcpStream) {
    let mut buffer = Vec::new();
    loop {
        while let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            let path = line.split(' ').nth(1).unwrap_or_default();
            let mut words = path.rsplit('/');
            let body = words.next().unwrap_or_default();
            let delay = tokio::time::sleep(Duration::from_millis(body.parse().unwrap_or(0)));
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let answered = if words.next() == Some("body") {
                let begun = stream.write_all(head.as_bytes()).await;
                delay.await;
                begun.is_ok() && stream.write_all(body.as_bytes()).await.is_ok()
            } else {
                delay.await;
                stream.write_all(format!("{head}{body}").as_bytes()).await.is_ok()
            };
            if !answered {
                return;
            }
        }
        if !stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
            return;
        }
    }
}
