//! The world of every experiment: an issuer, an upstream, the gateway between them, and a crowd of clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Ask, Course, Habit, http1, http2};
use crate::fate::Fates;
use crate::harness::binary::Binary;
use crate::harness::issuer::Issuer;
use crate::harness::mint::Key;
use crate::upstream;

const AUDIENCE: &str = "https://api.example.com";

/// Issuer, upstream and gateway.
pub struct World {
    pub issuer: Issuer,
    pub upstream: SocketAddr,
    pub gateway: Binary,
}

impl World {
    /// A gateway with these lines of `[server]` and of its issuer, and these further sections.
    pub async fn start(key: Key, server: &str, issuer: &str, sections: &str) -> Self {
        let (at, upstream) = (Issuer::start(&[key]).await, upstream::start().await);
        let gateway = Binary::start(&config(&at, upstream, server, issuer, sections));
        Self { issuer: at, upstream, gateway }
    }

    /// So many tokens of this key, each another.
    pub fn tokens(&self, key: Key, count: u64) -> Tokens {
        self.tokens_by(count, |claims| key.token(claims))
    }

    /// So many tokens of good claims, made by `sign`.
    pub fn tokens_by(&self, count: u64, sign: impl Fn(&Value) -> String) -> Tokens {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let token = |_| {
            let jti = NUMBER.fetch_add(1, Ordering::Relaxed);
            let claims =
                json!({ "iss": self.issuer.url(), "aud": AUDIENCE, "exp": now + 3600, "jti": jti.to_string() });
            Arc::from(sign(&claims))
        };
        Tokens { tokens: (0..count).map(token).collect(), next: AtomicU64::new(0) }
    }
}

/// The configuration: `/orders/*` for tokens of the issuer, `/open/*` for everybody.
pub fn config(issuer: &Issuer, upstream: SocketAddr, server: &str, issuer_lines: &str, sections: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
workers = 2
{server}
[admin]
listen = "127.0.0.1:0"
[log]
access = {{ sample = 0.0, refused = "all" }}
[issuers.main]
issuer = "{}"
{issuer_lines}
[[routes]]
name = "orders"
path = "/orders/*"
upstream = "http://{upstream}"
policy = {{ audience = ["{AUDIENCE}"] }}
[[routes]]
name = "open"
path = "/open/*"
upstream = "http://{upstream}"
policy = "public"
{sections}"#,
        issuer.url()
    )
}

/// Tokens, handed out in turn.
pub struct Tokens {
    tokens: Vec<Arc<str>>,
    next: AtomicU64,
}

impl Tokens {
    pub fn next(&self) -> Arc<str> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.tokens[usize::try_from(number).unwrap() % self.tokens.len()])
    }
}

/// Requests with a token, which the upstream answers at once.
pub fn orders(token: impl Fn() -> Arc<str> + Send + Sync + 'static, rest: Duration) -> Habit {
    let next = move || Ask { path: "/orders/0".to_owned(), token: Some(token()), elsewhere: false };
    Habit { next: Arc::new(next), rest }
}

/// Clients that are at it.
pub struct Crowd {
    pub course: Arc<Course>,
    pub fates: Arc<Fates>,
    address: SocketAddr,
    clients: JoinSet<()>,
}

impl Crowd {
    pub fn new(address: SocketAddr) -> Self {
        Self { course: Arc::default(), fates: Arc::default(), address, clients: JoinSet::new() }
    }

    /// So many clients, each with a kept connection over HTTP/1.1.
    pub fn join_http1(&mut self, count: usize, habit: &Habit) {
        for _ in 0..count {
            let (course, fates) = (Arc::clone(&self.course), Arc::clone(&self.fates));
            self.clients.spawn(http1(self.address, course, fates, habit.clone()));
        }
    }

    /// So many clients, each with so many requests at once over HTTP/2.
    pub fn join_http2(&mut self, count: usize, at_once: usize, habit: &Habit) {
        for _ in 0..count {
            let (course, fates) = (Arc::clone(&self.course), Arc::clone(&self.fates));
            self.clients.spawn(http2(self.address, course, fates, habit.clone(), at_once));
        }
    }

    /// Waits for every client's last answer.
    pub async fn gone(self) -> Arc<Fates> {
        let gone = tokio::time::timeout(Duration::from_secs(60), self.clients.join_all()).await;
        gone.expect("every client has its answer");
        self.fates
    }
}

/// Tells how an experiment went, and whether it was good.
pub fn told(name: &str, about: &str, fates: &Fates) -> bool {
    let good = fates.are_good();
    println!("{name}: {about}: {fates}: {}", if good { "nothing lost" } else { "LOST" });
    good
}
