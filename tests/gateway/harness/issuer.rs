//! An issuer on loopback: serves its discovery document and its key set over a real socket, and can rotate its keys, be
//! slow, be down, or lie.
//!
//! Requests are counted as they arrive, before anything is answered, so a test can await one that is still held.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::mint::{Key, jwk_set};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the issuer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    Discovery,
    Keys,
}

impl Document {
    pub fn path(self) -> &'static str {
        match self {
            Self::Discovery => "/.well-known/openid-configuration",
            Self::Keys => "/keys",
        }
    }
}

/// How the issuer answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// 200 with this body, and this content type.
    Body(&'static str, Vec<u8>),
    /// This status with an empty body.
    Status(u16),
    /// 302 to this address.
    Redirect(String),
    /// A head that promises more bytes than come.
    Truncated(Vec<u8>),
    /// A body that does not end while the client reads.
    Endless,
    /// The beginning of a body, and then nothing more while the client waits.
    Stalled,
    /// Bytes that are not HTTP.
    Garbage,
}

impl Answer {
    pub fn json(value: &Value) -> Self {
        Self::Body("application/json", value.to_string().into_bytes())
    }

    pub fn text(body: &str) -> Self {
        Self::Body("application/json", body.as_bytes().to_vec())
    }

    pub fn html() -> Self {
        Self::Body("text/html", b"<!doctype html><title>Sign in</title>".to_vec())
    }
}

struct State {
    answers: Mutex<[Answer; 2]>,
    counts: watch::Sender<[usize; 2]>,
    open: watch::Sender<bool>,
}

/// The issuer. Dropped, it is down.
pub struct Issuer {
    address: SocketAddr,
    state: Arc<State>,
    serving: Option<JoinHandle<()>>,
    /// Keeps the port ours while nobody listens on it.
    _reservation: Socket,
}

impl Issuer {
    /// An issuer of these keys, up and telling the truth.
    pub async fn start(keys: &[Key]) -> Self {
        let reservation = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = reservation.local_addr().unwrap().as_socket().unwrap();
        let state = State {
            answers: Mutex::new([Answer::Status(404), Answer::json(&jwk_set(keys))]),
            counts: watch::Sender::new([0, 0]),
            open: watch::Sender::new(true),
        };
        let mut issuer = Self { address, state: Arc::new(state), serving: None, _reservation: reservation };
        issuer.answer(Document::Discovery, Answer::json(&issuer.metadata()));
        issuer.up();
        issuer
    }

    /// The issuer's name, as its tokens and its discovery document tell it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where a document is served.
    pub fn url_of(&self, document: Document) -> String {
        format!("{}{}", self.url(), document.path())
    }

    /// The true discovery document.
    pub fn metadata(&self) -> Value {
        json!({
            "issuer": self.url(),
            "jwks_uri": self.url_of(Document::Keys),
            "token_endpoint": format!("{}/token", self.url()),
            "response_types_supported": ["code"],
            "claims_parameter_supported": false,
        })
    }

    /// Serves these keys from now on.
    pub fn rotate(&self, keys: &[Key]) {
        self.answer(Document::Keys, Answer::json(&jwk_set(keys)));
    }

    /// Answers like this from now on.
    pub fn answer(&self, document: Document, answer: Answer) {
        self.state.answers.lock().unwrap()[document as usize] = answer;
    }

    /// Holds every answer until [`Issuer::release`]. Requests still arrive and count.
    pub fn hold(&self) {
        self.state.open.send_replace(false);
    }

    /// Sends what is held, and holds no more.
    pub fn release(&self) {
        self.state.open.send_replace(true);
    }

    /// Refuses connections, and breaks those that are open.
    pub async fn down(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Aborted or ended: in both cases the listener is closed when this returns.
            let _ = serving.await;
        }
    }

    /// Listens again, at the same address.
    pub fn up(&mut self) {
        let socket = bind(self.address);
        socket.listen(1024).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        self.serving = Some(tokio::spawn(serve(listener, Arc::clone(&self.state))));
    }

    /// Makes a call of its own to the issuer: what was on its way before has had the time to arrive.
    pub async fn round_trip(&self) {
        let mut stream = TcpStream::connect(self.address).await.expect("the issuer is up");
        stream.write_all(b"GET /nothing HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 404 "));
    }

    /// How often a document was asked for.
    pub fn requests(&self, document: Document) -> usize {
        self.state.counts.borrow()[document as usize]
    }

    /// Waits until a document was asked for `count` times in all.
    pub async fn asked(&self, document: Document, count: usize) {
        let mut counts = self.state.counts.subscribe();
        let reached = counts.wait_for(|counts| counts[document as usize] >= count);
        tokio::time::timeout(PATIENCE, reached).await.expect("the document was not asked for").unwrap();
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

fn bind(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Lets the listener share the port with its reservation, which never listens.
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

/// Connections are tasks of this one, so that they end with it.
async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

/// One request, one answer, and the end. A client that went away is none of the issuer's business.
async fn converse(mut stream: TcpStream, state: Arc<State>) {
    let Some(path) = read_path(&mut stream).await else { return };
    let Some(document) = [Document::Discovery, Document::Keys].into_iter().find(|document| document.path() == path)
    else {
        let _ = respond(&mut stream, Answer::Status(404)).await;
        return;
    };
    // What was served when the request came is what is sent, however long it is held.
    let answer = state.answers.lock().unwrap()[document as usize].clone();
    state.counts.send_modify(|counts| counts[document as usize] += 1);
    if state.open.subscribe().wait_for(|open| *open).await.is_ok() {
        let _ = respond(&mut stream, answer).await;
    }
}

async fn read_path(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    head.strip_prefix("GET ")?.split(' ').next().map(str::to_owned)
}

async fn respond(stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    let head = |status: u16, fields: &str| format!("HTTP/1.1 {status} Answer\r\nConnection: close\r\n{fields}\r\n\r\n");
    match answer {
        Answer::Body(media_type, body) => {
            let fields = format!("Content-Type: {media_type}\r\nContent-Length: {}", body.len());
            stream.write_all(head(200, &fields).as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::Status(status) => stream.write_all(head(status, "Content-Length: 0").as_bytes()).await?,
        Answer::Redirect(to) => {
            let fields = format!("Location: {to}\r\nContent-Length: 0");
            stream.write_all(head(302, &fields).as_bytes()).await?;
        }
        Answer::Truncated(body) => {
            let fields = format!("Content-Length: {}", body.len() + 1);
            stream.write_all(head(200, &fields).as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::Endless => {
            stream.write_all(head(200, "Content-Type: application/json").as_bytes()).await?;
            stream.write_all(b"{\"keys\":[").await?;
            loop {
                stream.write_all(&[b' '; 16 * 1024]).await?;
            }
        }
        Answer::Stalled => {
            stream.write_all(head(200, "Content-Type: application/json").as_bytes()).await?;
            stream.write_all(b"{\"keys\":[").await?;
            // Ends when the client does, or with the issuer.
            while stream.read(&mut [0; 64]).await? > 0 {}
        }
        Answer::Garbage => stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await?,
    }
    stream.shutdown().await
}
