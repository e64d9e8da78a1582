//! Clients that obey what ends a connection, and never send a request twice.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::{self, ResponseFuture, SendRequest};
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::fate::{Fate, Fates};

/// What tells clients how long to go on.
#[derive(Default)]
pub struct Course {
    /// No further request is begun.
    over: AtomicBool,
    /// No further connection is opened: whoever spreads the load has heard that this gateway leaves.
    leaving: AtomicBool,
}

impl Course {
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn may_connect(&self) -> bool {
        self.goes_on() && !self.leaving.load(Ordering::Relaxed)
    }

    /// A connection, where one may be opened. That none can be opened where one may is a loss.
    async fn connect(&self, address: SocketAddr, fates: &Fates) -> Option<TcpStream> {
        while self.may_connect() {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).unwrap();
                    return Some(stream);
                }
                Err(_) if self.may_connect() => fates.count(Fate::Unconnected),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        None
    }
}

/// A request to send.
pub struct Ask {
    pub path: String,
    pub token: Option<Arc<str>>,
    /// Whether 404 is as right as 200.
    pub elsewhere: bool,
}

/// What a client does: which requests it sends, and how long it rests after each answer.
#[derive(Clone)]
pub struct Habit {
    pub next: Arc<dyn Fn() -> Ask + Send + Sync>,
    pub rest: Duration,
}

/// Sends request after request over HTTP/1.1 until the course is over, or no connection may be opened any more.
pub async fn http1(address: SocketAddr, course: Arc<Course>, fates: Arc<Fates>, habit: Habit) {
    while let Some(mut stream) = course.connect(address, &fates).await {
        let mut buffer = Vec::new();
        while course.goes_on() {
            let (fate, keep) = exchange(&mut stream, &mut buffer, &(habit.next)()).await;
            fates.count(fate);
            if !keep {
                break;
            }
            tokio::time::sleep(habit.rest).await;
        }
    }
}

/// The same over HTTP/2, with so many requests at once on each connection.
pub async fn http2(address: SocketAddr, course: Arc<Course>, fates: Arc<Fates>, habit: Habit, at_once: usize) {
    while let Some(stream) = course.connect(address, &fates).await {
        // Nothing was asked on a connection that does not come about.
        let Ok((sender, connection)) = client::handshake(stream).await else { continue };
        let connection = tokio::spawn(connection);
        let mut lanes = JoinSet::new();
        for _ in 0..at_once {
            lanes.spawn(lane(sender.clone(), Arc::clone(&course), Arc::clone(&fates), habit.clone()));
        }
        drop(sender);
        lanes.join_all().await;
        // How the connection ended is told by its requests.
        let _ = connection.await;
    }
}

/// One request after the other, for as long as the connection takes any: after GOAWAY it takes none.
async fn lane(mut sender: SendRequest<Bytes>, course: Arc<Course>, fates: Arc<Fates>, habit: Habit) {
    while course.goes_on() {
        let Ok(ready) = sender.ready().await else { return };
        sender = ready;
        let ask = (habit.next)();
        let mut request = Request::get(format!("http://a{}", ask.path));
        if let Some(token) = &ask.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let Ok((response, _)) = sender.send_request(request.body(()).unwrap(), true) else { return };
        fates.count(stream(response, &ask).await);
        tokio::time::sleep(habit.rest).await;
    }
}

/// What became of a request that was sent on a stream.
async fn stream(response: ResponseFuture, ask: &Ask) -> Fate {
    let response = match response.await {
        Ok(response) => response,
        Err(error) if error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR) => {
            return Fate::Untaken;
        }
        Err(_) => return Fate::NoAnswer,
    };
    let (status, mut body) = (response.status().as_u16(), response.into_body());
    while let Some(data) = body.data().await {
        let Ok(data) = data else { return Fate::Truncated };
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    fate(status, ask)
}

/// Sends one request and reads its answer: what became of it, and whether the connection may be used again.
pub async fn exchange(stream: &mut TcpStream, buffer: &mut Vec<u8>, ask: &Ask) -> (Fate, bool) {
    let authorization = ask.token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n"));
    let head = format!("GET {} HTTP/1.1\r\nhost: a\r\n{}\r\n", ask.path, authorization.unwrap_or_default());
    if stream.write_all(head.as_bytes()).await.is_err() {
        return (Fate::Reset, false);
    }
    let mut whole = None;
    loop {
        if whole.is_none() {
            whole = Head::read(buffer);
        }
        if let Some(head) = &whole
            && buffer.len() >= head.whole
        {
            assert_eq!(buffer.len(), head.whole, "bytes behind an answer");
            buffer.clear();
            return (fate(head.status, ask), !head.close);
        }
        match stream.read_buf(buffer).await {
            Ok(0) if buffer.is_empty() => return (Fate::NoAnswer, false),
            Ok(0) => return (Fate::Truncated, false),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (Fate::Reset, false),
            Err(error) => panic!("{error}"),
        }
    }
}

fn fate(status: u16, ask: &Ask) -> Fate {
    match status {
        200 => Fate::Answered,
        404 if ask.elsewhere => Fate::Elsewhere,
        _ => Fate::Refused,
    }
}

/// What an answer's head says of it.
struct Head {
    status: u16,
    /// The length of head and body.
    whole: usize,
    close: bool,
}

impl Head {
    fn read(buffer: &[u8]) -> Option<Self> {
        let end = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let text = std::str::from_utf8(&buffer[..end]).unwrap().to_ascii_lowercase();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length: usize = field("content-length:").expect("every answer says its length").parse().unwrap();
        Some(Self {
            status: text.split(' ').nth(1).unwrap().parse().unwrap(),
            whole: end + 4 + length,
            close: field("connection:") == Some("close"),
        })
    }
}
