//! Clients of the gateway: one that sends exactly the bytes it is given and reads exactly what comes back, and one that
//! speaks HTTP/2 by prior knowledge.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a field that stands once at most.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = named.next().map(|(_, value)| value.as_str());
        assert!(named.next().is_none(), "{name} stands twice");
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The `code` of a problem; empty where the body is none.
    pub fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// What carries a client's bytes.
trait Carrier: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Carrier for T {}

/// A client that sends exact bytes.
pub struct Client {
    stream: Box<dyn Carrier>,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// Over a connection that there is.
    pub fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends as much as the other side takes; true where it took all.
    pub async fn offer(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let head_only = request.as_ref().starts_with(b"HEAD ");
        self.send(request).await;
        if head_only { self.head().await } else { self.answer().await }
    }

    /// `GET` on this path, for the host `api.test`.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: api.test\r\n\r\n")).await
    }

    /// Reads an answer's head; its body is still to come.
    pub async fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            assert!(self.more().await, "the connection ended within a head: {:?}", self.buffer);
        };
        let text = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines.map(|line| line.split_once(':').unwrap());
        let headers = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Answer { status, headers, body: Vec::new() }
    }

    /// Reads an answer.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        if answer.status == 204 || answer.status == 304 || answer.status == 100 {
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line().await, 16).unwrap();
                answer.body.extend(self.bytes(size).await);
                assert_eq!(self.line().await, "");
                if size == 0 {
                    return answer;
                }
            }
        }
        if let Some(length) = answer.header("content-length") {
            answer.body = self.bytes(length.parse().unwrap()).await;
        } else {
            while self.more().await {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        answer
    }

    /// Reads answers until the connection ends.
    pub async fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while !self.buffer.is_empty() || self.more().await {
            answers.push(self.answer().await);
        }
        answers
    }

    /// Reads so many bytes.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more().await, "the connection ended within a body");
        }
        self.buffer.drain(..count).collect()
    }

    /// Everything up to the connection's end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads to the connection's end: whether that is a reset.
    pub async fn is_reset(&mut self) -> bool {
        loop {
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer));
            match read.await.expect("the gateway ends it") {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }

    /// An answer's bytes up to its end, or the connection's where that comes first.
    pub async fn message(&mut self) -> Vec<u8> {
        loop {
            let text = String::from_utf8_lossy(&self.buffer);
            let length =
                text.split_once("content-length: ").and_then(|(_, rest)| rest.split_once("\r\n")?.0.parse().ok());
            let whole = find(&self.buffer, b"\r\n\r\n")
                .is_some_and(|head| length.is_some_and(|length: usize| self.buffer.len() >= head + 4 + length));
            if whole || !self.more().await {
                return std::mem::take(&mut self.buffer);
            }
        }
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return String::from_utf8(line).unwrap();
            }
            assert!(self.more().await, "the connection ended within a line");
        }
    }

    /// Reads some bytes; false at the connection's end, by a close or a reset.
    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer));
        read.await.expect("the gateway answers or closes").is_ok_and(|count| count > 0)
    }
}

/// A client of HTTP/2 by prior knowledge.
pub struct Http2(http2::SendRequest<Full<Bytes>>);

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream).await
    }

    /// Over a connection that there is.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let response: Response<_> =
            tokio::time::timeout(PATIENCE, self.0.send_request(request)).await.expect("an answer").unwrap();
        let (head, body) = response.into_parts();
        let fields = head.headers.iter();
        let headers = fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status.as_u16(), headers, body }
    }

    /// Returns once the gateway has ended the connection.
    pub async fn closed(&mut self) {
        let closed = async {
            while self.0.ready().await.is_ok() {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("the gateway closes");
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
