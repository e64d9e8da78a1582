//! The gateway before an API, trusting an issuer that is not ours; its time is moved by the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bearward::remote::clock::{Clock, Hands};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{Answer, Client};
use super::gateway::Served;
use super::upstream::Upstream;

/// The gateway, and the API behind it.
pub struct Guarded {
    pub upstream: Upstream,
    pub gateway: Served,
    pub hands: Hands,
}

/// Longer than the gateway waits between two fetches for unknown keys, and than a breaker stays open.
pub const A_WHILE: Duration = Duration::from_secs(61);

impl Guarded {
    /// The issuer by its sections, and the policy of every path.
    pub async fn start(issuer: &str, policy: &str) -> Self {
        let upstream = Upstream::start().await;
        let (clock, hands) = Clock::manual(SystemTime::now());
        let toml = format!(
            "{issuer}\n[upstreams.api]\nurl = \"{}\"\nidentity_headers = {{ x-user = \"sub\" }}\n\n\
             [[routes]]\npath = \"/*\"\nupstream = \"api\"\npolicy = {policy}\n",
            upstream.url()
        );
        let gateway = Served::timed(&toml, clock);
        Self { upstream, gateway, hands }
    }

    /// What a request with this token is answered.
    pub async fn send(&self, token: &str) -> Answer {
        let mut client = Client::connect(self.gateway.address()).await;
        client.ask(request(token)).await
    }

    /// The token reaches the API, which is told whose it is.
    pub async fn passes(&self, token: &str, user: &str) {
        let before = self.upstream.requests().len();
        let answer = self.send(token).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
        let seen = self.upstream.requests();
        let [request] = &seen[before..] else { panic!("{} requests reached the API", seen.len() - before) };
        assert_eq!(request.all("x-user"), [user]);
    }

    /// The token is refused by this code, and the API hears nothing.
    pub async fn refused(&self, token: &str, status: u16, code: &str) {
        let before = self.upstream.requests().len();
        let answer = self.send(token).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert!(!answer.text().contains(token), "{code}: the token is told back");
        assert_eq!(self.upstream.requests().len(), before, "{code}: the API was asked");
    }

    /// Keys are rotated three times under load: no good token is refused, neither one of before nor one of after.
    pub async fn bears_rotations(&self, issue: impl AsyncFn() -> String, rotate: impl AsyncFn()) {
        let first = issue().await;
        let mut key = kid(&first);
        let load = Load::start(self, &first);
        // No fetch is under way when the time is moved: it would seem to take that long.
        load.goes_on_with(&first).await;
        for _ in 0..3 {
            self.hands.advance(A_WHILE);
            rotate().await;
            let token = issue().await;
            let other = kid(&token);
            assert_ne!(other, key, "the issuer signs with the key of before");
            key = other;
            load.goes_on_with(&token).await;
            assert_eq!(self.send(&first).await.status, 200, "a token of before the rotation");
        }
        load.ends().await;
    }
}

/// Clients that send without a pause.
struct Load {
    token: watch::Sender<String>,
    answered: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

const CLIENTS: usize = 4;

impl Load {
    fn start(world: &Guarded, token: &str) -> Self {
        let (sender, receiver) = watch::channel(token.to_owned());
        let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let address = world.gateway.address();
        let clients = (0..CLIENTS).map(|_| {
            let (token, answered, over) = (receiver.clone(), Arc::clone(&answered), Arc::clone(&over));
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                while !over.load(Ordering::Relaxed) {
                    let token = token.borrow().clone();
                    let answer = client.ask(request(&token)).await;
                    assert_eq!(answer.status, 200, "a good token is refused: {}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let clients = clients.collect();
        Self { token: sender, answered, over, clients }
    }

    /// Returns when each client is likely to have sent this token a few times.
    async fn goes_on_with(&self, token: &str) {
        self.token.send(token.to_owned()).unwrap();
        let enough = self.answered.load(Ordering::Relaxed) + 10 * CLIENTS;
        while self.answered.load(Ordering::Relaxed) < enough {
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client has ended");
            tokio::task::yield_now().await;
        }
    }

    async fn ends(self) {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

fn request(token: &str) -> String {
    format!("GET /orders/1 HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {token}\r\n\r\n")
}

/// The key that signed a token.
fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}
