//! An issuer on loopback: serves its discovery document and its key set over a real socket, and can rotate its keys, be
//! slow, be down, or lie; over TLS where a test says so.
//!
//! Requests are counted as they arrive, before anything is answered, so a test can await one that is still held.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::certificates::Issued;
use super::mint::{Key, jwk_set};
use super::port::Port;

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
    /// 200 with this body and these header fields, each `name: value`.
    Headed(Vec<String>, Vec<u8>),
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
    /// The beginning of a body, and one blank more for each [`Issuer::drip`].
    Dripping,
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

    /// 200 with this key set and these header fields.
    pub fn headed(keys: &[Key], fields: &[&str]) -> Self {
        Self::Headed(fields.iter().map(|field| (*field).to_owned()).collect(), jwk_set(keys).to_string().into_bytes())
    }

    pub fn html() -> Self {
        Self::Body("text/html", b"<!doctype html><title>Sign in</title>".to_vec())
    }
}

struct State {
    answers: Mutex<[Answer; 2]>,
    /// The `Authorization` of each request, by document.
    requests: watch::Sender<[Vec<Option<String>>; 2]>,
    drops: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

/// The issuer. Dropped, it is down.
pub struct Issuer {
    port: Port,
    state: Arc<State>,
    tls: Option<TlsAcceptor>,
    serving: Option<JoinHandle<()>>,
}

impl Issuer {
    /// An issuer of these keys, up and telling the truth.
    pub async fn start(keys: &[Key]) -> Self {
        Self::start_with(keys, None)
    }

    /// The same over TLS, with this certificate.
    pub async fn start_tls(keys: &[Key], certificate: &Issued) -> Self {
        let (certificate, key) = certificate.pair();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        Self::start_with(keys, Some(Arc::new(config).into()))
    }

    fn start_with(keys: &[Key], tls: Option<TlsAcceptor>) -> Self {
        let state = State {
            answers: Mutex::new([Answer::Status(404), Answer::json(&jwk_set(keys))]),
            requests: watch::Sender::default(),
            drops: watch::Sender::new(0),
            open: watch::Sender::new(true),
        };
        let mut issuer = Self { port: Port::reserve(), state: Arc::new(state), tls, serving: None };
        issuer.answer(Document::Discovery, Answer::json(&issuer.metadata()));
        issuer.up();
        issuer
    }

    /// The issuer's name, as its tokens and its discovery document tell it.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.port.address())
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
        self.serving = Some(tokio::spawn(serve(self.port.listen(), self.tls.clone(), Arc::clone(&self.state))));
    }

    /// Makes a call of its own to the issuer: what was on its way before has had the time to arrive.
    pub async fn round_trip(&self) {
        let mut stream = TcpStream::connect(self.port.address()).await.expect("the issuer is up");
        stream.write_all(b"GET /nothing HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 404 "));
    }

    /// How often a document was asked for.
    pub fn requests(&self, document: Document) -> usize {
        self.state.requests.borrow()[document as usize].len()
    }

    /// The `Authorization` that came with each request for a document.
    pub fn authorizations(&self, document: Document) -> Vec<Option<String>> {
        self.state.requests.borrow()[document as usize].clone()
    }

    /// Lets one byte more of each [`Answer::Dripping`] go.
    pub fn drip(&self) {
        self.state.drops.send_modify(|drops| *drops += 1);
    }

    /// Waits until a document was asked for `count` times in all.
    pub async fn asked(&self, document: Document, count: usize) {
        let mut requests = self.state.requests.subscribe();
        let reached = requests.wait_for(|requests| requests[document as usize].len() >= count);
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

/// Connections are tasks of this one, so that they end with it.
async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer(stream, tls.clone(), Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(stream: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    match tls {
        None => converse(stream, state).await,
        Some(tls) => {
            // Who does not trust the certificate leaves here.
            if let Ok(stream) = tls.accept(stream).await {
                converse(stream, state).await;
            }
        }
    }
}

/// One request, one answer, and the end. A client that went away is none of the issuer's business.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let Some((path, authorization)) = read_head(&mut stream).await else { return };
    let Some(document) = [Document::Discovery, Document::Keys].into_iter().find(|document| document.path() == path)
    else {
        let _ = respond(&mut stream, Answer::Status(404), &state).await;
        return;
    };
    // What was served when the request came is what is sent, however long it is held.
    let answer = state.answers.lock().unwrap()[document as usize].clone();
    state.requests.send_modify(|requests| requests[document as usize].push(authorization));
    if state.open.subscribe().wait_for(|open| *open).await.is_ok() {
        let _ = respond(&mut stream, answer, &state).await;
    }
}

/// The path that is asked for, and the `Authorization`.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Option<String>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let path = head.strip_prefix("GET ")?.split(' ').next().map(str::to_owned)?;
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let authorization = fields.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    Some((path, authorization.map(|(_, value)| value.to_owned()).next()))
}

async fn respond(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    answer: Answer,
    state: &State,
) -> std::io::Result<()> {
    let head = |status: u16, fields: &str| format!("HTTP/1.1 {status} Answer\r\nConnection: close\r\n{fields}\r\n\r\n");
    match answer {
        Answer::Body(media_type, body) => {
            let fields = format!("Content-Type: {media_type}\r\nContent-Length: {}", body.len());
            stream.write_all(head(200, &fields).as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::Headed(mut fields, body) => {
            fields.push(format!("Content-Length: {}", body.len()));
            stream.write_all(head(200, &fields.join("\r\n")).as_bytes()).await?;
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
        Answer::Dripping => {
            stream.write_all(head(200, "Content-Type: application/json").as_bytes()).await?;
            stream.write_all(b"{\"keys\":[").await?;
            let mut drops = state.drops.subscribe();
            while drops.changed().await.is_ok() {
                stream.write_all(b" ").await?;
                stream.flush().await?;
            }
        }
        Answer::Garbage => stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await?,
    }
    stream.shutdown().await?;
    // Closed over bytes that nobody has read, the socket would be reset.
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}
