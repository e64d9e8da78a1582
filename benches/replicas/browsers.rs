//! The browsers: each has a session, and asks for something again and again, now at this gateway and now at that.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bearward::config::{Authentication, Client as OauthClient, Endpoint, Store as Configured, StoreAddress};
use bearward::gateway::{Plan, Renewals, Sessions};
use bearward::policy::grant::Granted;
use bearward::policy::seal::KeyRing;
use bearward::policy::session::{Attempt, Login, Sealer, Terms};
use bearward::remote::clock::Clock;
use bearward::remote::http::{Client, PlainHttp};
use bearward::remote::store;
use bearward::remote::token_endpoint::{Source, TokenEndpoint};
use bearward::telemetry::Telemetry;
use bearward::telemetry::metrics::Metrics;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use url::Url;

use crate::fleet::{Fleet, KEY, ORIGIN};

/// How many sessions there are.
pub const COUNT: usize = 1000;

/// How many browsers ask at once.
const CROWD: usize = 50;

/// How often each session is asked with.
const PACE: Duration = Duration::from_millis(700);

/// How long a browser waits for an answer.
const PATIENCE: Duration = Duration::from_secs(12);

/// What became of it all.
#[derive(Default)]
pub struct Told {
    pub requests: usize,
    /// Sessions that were over.
    pub lost: usize,
    /// Answers that were of somebody else's session.
    pub mixed: usize,
    /// Requests that were not answered with 200, by status; 0 without an answer.
    statuses: HashMap<u16, usize>,
    pub others: String,
}

/// The browsers.
pub struct Browsers {
    sessions: Arc<Sessions>,
    cookies: Arc<Vec<String>>,
    over: Arc<AtomicBool>,
    at_work: JoinSet<Told>,
}

impl Browsers {
    /// Logs all of them in, as a login would, and lets them begin.
    pub async fn log_in(fleet: &Fleet) -> Self {
        let sessions = Arc::new(sessions(fleet));
        let names: Vec<_> = (0..COUNT).map(|number| format!("user-{number}")).collect();
        let cookies = join_all(names.iter().map(|name| {
            let now = SystemTime::now();
            let granted = Granted::parse(fleet.issuer.log_in(name).to_string().as_bytes(), now).unwrap();
            let login =
                Login { issuer: fleet.issuer.url(), subject: name.clone(), sid: None, claims: Default::default() };
            sessions.create(login, granted, now.into())
        }));
        let cookies = Arc::new(cookies.await.into_iter().map(Result::unwrap).collect::<Vec<_>>());
        let over = Arc::<AtomicBool>::default();
        let mut at_work = JoinSet::new();
        for first in 0..CROWD {
            let crowd = Crowd {
                cookies: Arc::clone(&cookies),
                addresses: Arc::clone(&fleet.addresses),
                over: Arc::clone(&over),
                kept: HashMap::new(),
                told: Told::default(),
            };
            at_work.spawn(crowd.ask(first));
        }
        Self { sessions, cookies, over, at_work }
    }

    /// How many refreshes had begun by now and stay under way although nobody is at them: looked at half a second later, which
    /// is long for one that somebody is at.
    pub async fn left_under_way(&self) -> usize {
        let now = SystemTime::now();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let looks = join_all(self.cookies.iter().map(|cookie| self.sessions.peek(cookie))).await;
        let attempts = looks.into_iter().flatten().flatten().filter_map(|live| live.session.attempt.clone());
        attempts.filter(|attempt| matches!(attempt, Attempt::UnderWay { begun, .. } if *begun <= now)).count()
    }

    /// Lets them finish: what became of it all.
    pub async fn leave(mut self) -> Told {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        while let Some(told) = self.at_work.join_next().await {
            let told = told.unwrap();
            all.requests += told.requests;
            all.lost += told.lost;
            all.mixed += told.mixed;
            for (status, count) in told.statuses {
                *all.statuses.entry(status).or_default() += count;
            }
        }
        let mut statuses: Vec<_> = all.statuses.iter().map(|(status, count)| format!("{count} of {status}")).collect();
        statuses.sort();
        all.others = if statuses.is_empty() { "all 200".to_owned() } else { statuses.join(", ") };
        all
    }
}

struct Crowd {
    cookies: Arc<Vec<String>>,
    addresses: Arc<std::sync::Mutex<Vec<Option<SocketAddr>>>>,
    over: Arc<AtomicBool>,
    kept: HashMap<SocketAddr, TcpStream>,
    told: Told,
}

static TURN: AtomicUsize = AtomicUsize::new(0);

impl Crowd {
    async fn ask(mut self, first: usize) -> Told {
        let mut mine: Vec<usize> = (first..COUNT).step_by(CROWD).collect();
        while !self.over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            for number in mine.clone() {
                let Some(address) = self.next() else { continue };
                self.told.requests += 1;
                let (status, body) = self.exchange(address, number).await.unwrap_or_default();
                match status {
                    200 if body == format!("user-{number}") => {}
                    200 => self.told.mixed += 1,
                    401 => {
                        *self.told.statuses.entry(status).or_default() += 1;
                        self.told.lost += 1;
                        mine.retain(|other| *other != number);
                    }
                    _ => *self.told.statuses.entry(status).or_default() += 1,
                }
            }
            tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
        }
        self.told
    }

    /// The next gateway that listens.
    fn next(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.lock().unwrap();
        let there: Vec<_> = addresses.iter().flatten().copied().collect();
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        there.get(turn % there.len().max(1)).copied()
    }

    /// The answer to one request; none where the connection or the gateway is gone.
    async fn exchange(&mut self, address: SocketAddr, number: usize) -> Option<(u16, String)> {
        let mut stream = match self.kept.remove(&address) {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(address).await.ok()?;
                stream.set_nodelay(true).ok()?;
                stream
            }
        };
        let request = format!(
            "GET /orders HTTP/1.1\r\nHost: app.example.com\r\nCookie: __Host-session={}\r\n\r\n",
            self.cookies[number]
        );
        let answered = async {
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut buffer = Vec::new();
            loop {
                if stream.read_buf(&mut buffer).await.ok()? == 0 {
                    return None;
                }
                let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
                let head = std::str::from_utf8(&buffer[..end]).ok()?.to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
                let length: usize = length.trim().parse().ok()?;
                if buffer.len() >= end + 4 + length {
                    let body = String::from_utf8_lossy(&buffer[end + 4..]).into_owned();
                    let status = head.split(' ').nth(1)?.parse().ok()?;
                    return Some((status, body, head.contains("connection: close")));
                }
            }
        };
        let (status, body, closes) = tokio::time::timeout(PATIENCE, answered).await.ok()??;
        if !closes {
            self.kept.insert(address, stream);
        }
        Some((status, body))
    }
}

/// The same sessions as the gateways have.
fn sessions(fleet: &Fleet) -> Sessions {
    let clock = Clock::system();
    let url = Url::parse(&format!("{}/token", fleet.issuer.url())).unwrap();
    let source = Source {
        issuer: fleet.issuer.url(),
        token: Endpoint::At(url),
        revocation: None,
        client: OauthClient { id: "web".to_owned(), authentication: Authentication::None },
        timeout: Duration::from_secs(5),
        authorities: None,
        plain_http: PlainHttp::Loopback,
    };
    let address = StoreAddress::Redis(Url::parse(&fleet.redis.url()).unwrap());
    let configured = Configured { address, username: None, password: None };
    let plan = Plan {
        name: "web".to_owned(),
        sealer: Sealer { ring: KeyRing::new(KEY, []), cookie: "__Host-session".to_owned(), origin: ORIGIN.to_owned() },
        terms: Terms {
            refresh_before: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(12 * 3600),
            lifetime: Duration::from_secs(7 * 24 * 3600),
        },
        endpoint: TokenEndpoint::new(source, &Client::new(clock.clone()).unwrap(), &clock),
        store: store::open(&configured, &clock, &Handle::current()),
    };
    let telemetry = Telemetry { metrics: Metrics::new(&[]).unwrap(), access: None, log: None };
    Sessions::new(plan, &clock, &Handle::current(), &Arc::new(telemetry), &Arc::<Renewals>::default())
}
