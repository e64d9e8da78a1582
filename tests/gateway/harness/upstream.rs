//! An upstream on loopback: real HTTP/1.1 over real sockets, that records every request as it came and answers as told.
//!
//! It parses for itself and leniently, so that a request that our own stack would not have read is seen all the same.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// The request line and the fields, each byte of them, to the empty line.
    pub head: Vec<u8>,
    /// The request line.
    pub line: String,
    /// The fields in their order, names as sent.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Recorded {
    fn of(connection: usize, head: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&head);
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter_map(|line| line.split_once(':'));
        let headers = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Self { connection, line, headers, head, body: Vec::new(), whole: false }
    }

    /// The values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The target of the request line.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// What one request is answered with.
#[derive(Debug, Clone)]
pub enum Reply {
    /// These bytes; the connection stays.
    Bytes(Vec<u8>),
    /// These bytes, then the connection is closed.
    Close(Vec<u8>),
    /// These bytes, then nothing more while the connection lasts.
    Stall(Vec<u8>),
    /// These bytes, then a reset.
    Reset(Vec<u8>),
    /// These bytes before the request's body is read.
    Early(Vec<u8>),
    /// These bytes, and nothing is read or written after them.
    Deaf(Vec<u8>),
    /// 200 with a body of so many bytes, which are counted as they are taken.
    Flood(usize),
    /// These pieces, with so long before each.
    Drip(Vec<Vec<u8>>, Duration),
    /// These bytes once the watch shows true.
    Held(watch::Receiver<bool>, Vec<u8>),
    /// The first bytes at once, the others once the watch shows true.
    Begun(Vec<u8>, watch::Receiver<bool>, Vec<u8>),
    /// That one once the watch shows true.
    Once(watch::Receiver<bool>, Box<Reply>),
}

impl Reply {
    /// 200 with this body.
    pub fn ok(body: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }
}

/// The upstream. Dropped, it is gone.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    replies: Mutex<VecDeque<Reply>>,
    seen: watch::Sender<Seen>,
}

#[derive(Default)]
struct Seen {
    /// How many heads of requests came.
    begun: usize,
    requests: Vec<Recorded>,
    opened: usize,
    closed: usize,
    flooded: usize,
}

impl Upstream {
    /// An upstream that answers `200 ok` until it is told otherwise.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { replies: Mutex::default(), seen: watch::Sender::default() });
        let for_task = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut number = 0;
                for_task.seen.send_modify(|seen| {
                    number = seen.opened;
                    seen.opened += 1;
                });
                let shared = Arc::clone(&for_task);
                tokio::spawn(async move {
                    serve(stream, number, &shared).await;
                    shared.seen.send_modify(|seen| seen.closed += 1);
                });
            }
        });
        Self { address, shared, accepting }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next request that has no other answer yet with this.
    pub fn reply(&self, reply: Reply) {
        self.shared.replies.lock().unwrap().push_back(reply);
    }

    /// Forgets the answers that nobody has asked for yet.
    pub fn forget(&self) {
        self.shared.replies.lock().unwrap().clear();
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.seen.borrow().requests.clone()
    }

    /// The number of requests so far.
    pub fn count(&self) -> usize {
        self.shared.seen.borrow().requests.len()
    }

    /// The number of connections that were opened.
    pub fn opened(&self) -> usize {
        self.shared.seen.borrow().opened
    }

    /// How many bytes of floods were taken.
    pub fn flooded(&self) -> usize {
        self.shared.seen.borrow().flooded
    }

    /// The request of that number, from 0, once it is there.
    pub async fn request(&self, number: usize) -> Recorded {
        self.until(|seen| seen.requests.len() > number).await;
        self.shared.seen.borrow().requests[number].clone()
    }

    /// The number of requests that have begun so far.
    pub fn begun(&self) -> usize {
        self.shared.seen.borrow().begun
    }

    /// Returns once so many requests have begun.
    pub async fn begins(&self, count: usize) {
        self.until(|seen| seen.begun >= count).await;
    }

    /// Returns once so many connections have ended.
    pub async fn closed(&self, count: usize) {
        self.until(|seen| seen.closed >= count).await;
    }

    async fn until(&self, what: impl Fn(&Seen) -> bool) {
        let mut seen = self.shared.seen.subscribe();
        tokio::time::timeout(PATIENCE, seen.wait_for(|seen| what(seen))).await.expect("the upstream saw it").unwrap();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, connection: usize, shared: &Shared) {
    let mut buffer = Vec::new();
    while let Some(head) = head(&mut stream, &mut buffer).await {
        let mut reply = shared.replies.lock().unwrap().pop_front().unwrap_or_else(|| Reply::ok("ok"));
        let mut recorded = Recorded::of(connection, head);
        shared.seen.send_modify(|seen| seen.begun += 1);
        if let Reply::Early(bytes) = &reply {
            let _ = stream.write_all(bytes).await;
        }
        if let Reply::Deaf(bytes) = &reply {
            let _ = stream.write_all(bytes).await;
            return std::future::pending().await;
        }
        recorded.whole = body(&mut stream, &mut buffer, &mut recorded).await;
        let whole = recorded.whole;
        shared.seen.send_modify(|seen| seen.requests.push(recorded));
        if !whole {
            return;
        }
        if let Reply::Once(mut gate, then) = reply {
            let _ = gate.wait_for(|open| *open).await;
            reply = *then;
        }
        match reply {
            Reply::Early(_) | Reply::Deaf(_) | Reply::Once(..) => {}
            Reply::Bytes(bytes) => drop(stream.write_all(&bytes).await),
            Reply::Close(bytes) => {
                let _ = stream.write_all(&bytes).await;
                // Closed over bytes that nobody has read, the socket would be reset.
                let _ = stream.shutdown().await;
                while more(&mut stream, &mut buffer).await {}
                return;
            }
            Reply::Stall(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.read(&mut [0; 1]).await;
                return;
            }
            Reply::Reset(bytes) => {
                let _ = stream.write_all(&bytes).await;
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            Reply::Flood(length) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                let piece = vec![b'x'; 64 * 1024];
                for _ in 0..length / piece.len() {
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                    shared.seen.send_modify(|seen| seen.flooded += piece.len());
                }
            }
            Reply::Drip(pieces, pause) => {
                for piece in pieces {
                    tokio::time::sleep(pause).await;
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            }
            Reply::Held(mut gate, bytes) => {
                let _ = gate.wait_for(|open| *open).await;
                let _ = stream.write_all(&bytes).await;
            }
            Reply::Begun(first, mut gate, bytes) => {
                let _ = stream.write_all(&first).await;
                let _ = gate.wait_for(|open| *open).await;
                let _ = stream.write_all(&bytes).await;
            }
        }
    }
}

/// A request line and its fields; none at the connection's end.
async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            return Some(buffer.drain(..at + 4).collect());
        }
        if !more(stream, buffer).await {
            return None;
        }
    }
}

/// Reads a body; false where the connection ended first.
async fn body(stream: &mut TcpStream, buffer: &mut Vec<u8>, recorded: &mut Recorded) -> bool {
    if recorded.all("transfer-encoding").first() == Some(&"chunked") {
        return chunks(stream, buffer, &mut recorded.body).await;
    }
    let length = recorded.all("content-length").first().map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        if !more(stream, buffer).await {
            recorded.body.append(buffer);
            return false;
        }
    }
    recorded.body = buffer.drain(..length).collect();
    true
}

async fn chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>, body: &mut Vec<u8>) -> bool {
    loop {
        let line = loop {
            if let Some(at) = find(buffer, b"\r\n") {
                break at;
            }
            if !more(stream, buffer).await {
                return false;
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&buffer[..line]).unwrap(), 16).unwrap();
        buffer.drain(..line + 2);
        while buffer.len() < size + 2 {
            if !more(stream, buffer).await {
                return false;
            }
        }
        body.extend(buffer.drain(..size));
        buffer.drain(..2);
        if size == 0 {
            return true;
        }
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    stream.read_buf(buffer).await.is_ok_and(|count| count > 0)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
