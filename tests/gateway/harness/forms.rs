//! An endpoint on loopback that takes forms: it answers as it is told, over a real socket, and can hold its answers, be down,
//! or lie.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::port::Port;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an endpoint replies.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A whole reply.
    Whole(u16, String, Vec<u8>),
    /// A body that does not end while it is read.
    Endless,
    /// The beginning of a body, and then nothing more.
    Stalled,
    /// Bytes that are not HTTP.
    Garbage,
}

impl Reply {
    pub fn json(value: &Value) -> Self {
        Self::body("application/json", value.to_string())
    }

    pub fn body(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Whole(200, format!("Content-Type: {media_type}\r\n"), body.into())
    }

    pub fn status(status: u16, fields: &str, body: &str) -> Self {
        Self::Whole(status, fields.to_owned(), body.as_bytes().to_vec())
    }
}

/// A question as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub form: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

struct State {
    answer: Box<dyn Fn(&Asked) -> Reply + Send + Sync>,
    asked: watch::Sender<Vec<Asked>>,
    open: watch::Sender<bool>,
    /// How many requests are held at once.
    held: watch::Sender<usize>,
}

/// The endpoint. Dropped, it is down.
pub struct Forms {
    port: Port,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

impl Forms {
    /// An endpoint that answers so, in the order in which it is asked.
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let port = Port::reserve();
        let (asked, open, held) = (watch::Sender::default(), watch::Sender::new(true), watch::Sender::new(0));
        let state = Arc::new(State { answer: Box::new(answer), asked, open, held });
        let serving = tokio::spawn(serve(port.listen(), Arc::clone(&state)));
        Self { port, state, serving }
    }

    pub fn url_of(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address())
    }

    /// Holds every answer until [`Forms::release`]; what was asked counts, and what was granted is granted.
    pub fn hold(&self) {
        self.state.open.send_replace(false);
    }

    pub fn release(&self) {
        self.state.open.send_replace(true);
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.borrow().clone()
    }

    /// Waits until so many requests have come in all.
    pub async fn was_asked(&self, count: usize) {
        let mut asked = self.state.asked.subscribe();
        let reached = asked.wait_for(|asked| asked.len() >= count);
        tokio::time::timeout(PATIENCE, reached).await.expect("the requests did not come").unwrap();
    }

    /// Drives what asks, until it has: it cannot end before, since answers are held.
    pub async fn holds_up<T: Debug>(&self, asking: &mut (impl Future<Output = T> + Unpin)) {
        tokio::select! {
            told = asking => panic!("{told:?} before the answer"),
            () = self.was_asked(1) => {}
        }
    }

    /// Waits until that many requests are held at once.
    pub async fn holds(&self, count: usize) {
        let mut held = self.state.held.subscribe();
        let reached = held.wait_for(|held| *held >= count);
        tokio::time::timeout(PATIENCE, reached).await.expect("the requests did not come").unwrap();
    }

    /// Refuses connections from now on, and breaks those that are open.
    pub async fn down(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }

    /// Listens again, at the same address.
    pub async fn up(&mut self) {
        self.serving = tokio::spawn(serve(self.port.listen(), Arc::clone(&self.state)));
    }
}

impl Drop for Forms {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

/// One request, one reply, and the end.
async fn converse(mut stream: TcpStream, state: Arc<State>) {
    let Some(asked) = read(&mut stream).await else { return };
    let reply = (state.answer)(&asked);
    state.asked.send_modify(|all| all.push(asked));
    state.held.send_modify(|held| *held += 1);
    let opened = state.open.subscribe().wait_for(|open| *open).await.is_ok();
    state.held.send_modify(|held| *held -= 1);
    if opened {
        let _ = respond(&mut stream, reply).await;
    }
}

/// A form as it is posted.
async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let form = url::form_urlencoded::parse(&body).into_owned().collect();
    Some(Asked { line, headers, form, body: String::from_utf8(body).ok()? })
}

async fn respond(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    let beginning = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"active\":true,";
    match reply {
        Reply::Whole(status, fields, body) => {
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} Reply\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Reply::Endless => {
            stream.write_all(beginning.as_bytes()).await?;
            loop {
                stream.write_all(&[b' '; 16 * 1024]).await?;
            }
        }
        Reply::Stalled => {
            stream.write_all(beginning.as_bytes()).await?;
            // Ends when the client does, or with the endpoint.
            while stream.read(&mut [0; 64]).await? > 0 {}
        }
        Reply::Garbage => stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await?,
    }
    stream.shutdown().await?;
    // Closed over bytes that nobody has read, the socket would be reset.
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}
