//! The issuer: access tokens of two seconds, and a new refresh token with each; who shows one twice ends the login, unless
//! the issuer allows the one before the newest to be shown again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::mint::{Key, jwk_set};

/// How long an access token lasts, in seconds.
const LIFE: u64 = 2;

/// How soon after the one before a token may be asked for: a little less than half of a life.
const SOONEST: Duration = Duration::from_millis(950);

/// How long an answer takes.
const LATENCY: Duration = Duration::from_millis(20);

pub const AUDIENCE: &str = "https://api.example.com";

#[derive(Default)]
struct Books {
    logins: HashMap<String, Login>,
    refreshes: usize,
    early: usize,
    reused: usize,
}

struct Login {
    /// The how-manieth refresh token holds; none after one was shown twice.
    current: Option<u64>,
    granted: Instant,
}

/// The issuer. Clones are of the same.
#[derive(Clone)]
pub struct Issuer {
    address: SocketAddr,
    key: Key,
    /// Whether the one before the newest may be shown again.
    overlap: bool,
    books: Arc<Mutex<Books>>,
}

impl Issuer {
    pub async fn start(overlap: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = Self { address, key: Key::p256("key"), overlap, books: Arc::default() };
        tokio::spawn(issuer.clone().serve(listener));
        issuer
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a new login of that name is granted.
    pub fn log_in(&self, name: &str) -> Value {
        let login = Login { current: Some(0), granted: Instant::now() };
        self.books.lock().unwrap().logins.insert(name.to_owned(), login);
        self.grant(name, 0)
    }

    /// How many refreshes there were, how many of them came early, and how many showed a token that had been shown before.
    pub fn counts(&self) -> (usize, usize, usize) {
        let books = self.books.lock().unwrap();
        (books.refreshes, books.early, books.reused)
    }

    fn grant(&self, name: &str, number: u64) -> Value {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let access = self.key.token(&json!({
            "iss": self.url(), "aud": AUDIENCE, "sub": name, "exp": now + LIFE as f64, "jti": number.to_string(),
        }));
        json!({
            "access_token": access, "token_type": "Bearer", "expires_in": LIFE, "refresh_token": format!("{name}.{number}"),
        })
    }

    /// What a refresh token is worth.
    fn exchange(&self, shown: &str) -> Option<Value> {
        let (name, number) = shown.rsplit_once('.')?;
        let number: u64 = number.parse().ok()?;
        {
            let mut books = self.books.lock().unwrap();
            let login = books.logins.get_mut(name)?;
            if self.overlap && login.current == Some(number + 1) {
                drop(books);
                return Some(self.grant(name, number + 1));
            }
            if login.current != Some(number) {
                login.current = None;
                books.reused += 1;
                return None;
            }
            login.current = Some(number + 1);
            let early = login.granted.elapsed() < SOONEST;
            login.granted = Instant::now();
            books.refreshes += 1;
            books.early += usize::from(early);
        }
        Some(self.grant(name, number + 1))
    }

    async fn serve(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let issuer = self.clone();
            tokio::spawn(async move {
                let answer = service_fn(|request| issuer.answer(request));
                // A gateway that is killed leaves in the middle.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let (status, body) = match path.as_str() {
            "/.well-known/openid-configuration" => (200, self.metadata()),
            "/keys" => (200, jwk_set(&[self.key])),
            _ => {
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
                let granted = form.get("refresh_token").and_then(|shown| self.exchange(shown));
                tokio::time::sleep(LATENCY).await;
                granted.map_or_else(|| (400, json!({ "error": "invalid_grant" })), |granted| (200, granted))
            }
        };
        let response = Response::builder().status(status).header("content-type", "application/json");
        Ok(response.body(Full::new(Bytes::from(body.to_string()))).unwrap())
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.url());
        json!({
            "issuer": self.url(), "jwks_uri": at("/keys"), "token_endpoint": at("/token"),
            "authorization_endpoint": at("/authorize"),
        })
    }
}
