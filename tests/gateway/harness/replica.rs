//! The sessions of one gateway, without the gateway: several of them over one store are replicas.

use std::sync::Arc;
use std::time::Duration;

use bearward::config::{Authentication, Client as OauthClient, Endpoint, Secret};
use bearward::gateway::{Live, Plan, Renewals, Sessions};
use bearward::policy::claims::NumericDate;
use bearward::policy::grant::Granted;
use bearward::policy::reject::Reject;
use bearward::policy::seal::KeyRing;
use bearward::policy::session::{Login, Sealer, Terms};
use bearward::remote::clock::{Clock, Hands};
use bearward::remote::http::{Client, PlainHttp};
use bearward::remote::store::{MemoryStore, Store};
use bearward::remote::token_endpoint::{Source, TokenEndpoint};
use bearward::telemetry::Telemetry;
use bearward::telemetry::access::{Refused, Settings};
use bearward::telemetry::labels::Labels;
use bearward::telemetry::ledger::Ledger;
use bearward::telemetry::log::Format;
use bearward::telemetry::metrics::Metrics;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use url::Url;

use super::guarded::claims;
use super::tokens::Tokens;

/// The usual key.
pub const KEY: [u8; 32] = [1; 32];

/// How long a call of the token endpoint may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// The usual terms.
pub const TERMS: Terms = Terms {
    refresh_before: Duration::from_secs(60),
    idle_timeout: Duration::from_secs(12 * 3600),
    lifetime: Duration::from_secs(7 * 24 * 3600),
};

/// One gateway's sessions.
pub struct Replica {
    pub sessions: Arc<Sessions>,
    pub clock: Clock,
    pub renewals: Arc<Renewals>,
    telemetry: Arc<Telemetry>,
    /// Keeps the metrics' names in use.
    _ledger: Ledger,
}

impl Replica {
    /// The usual sessions of the issuer of `tokens`.
    pub fn new(tokens: &Tokens, store: &Arc<dyn Store>, clock: &Clock) -> Self {
        Self::keyed(tokens, store, clock, KeyRing::new(KEY, []))
    }

    /// The same with other keys.
    pub fn keyed(tokens: &Tokens, store: &Arc<dyn Store>, clock: &Clock, ring: KeyRing) -> Self {
        Self::on(&Handle::current(), tokens, store, clock, ring)
    }

    /// The same whose renewals run on another runtime.
    pub fn on(control: &Handle, tokens: &Tokens, store: &Arc<dyn Store>, clock: &Clock, ring: KeyRing) -> Self {
        let authentication = Authentication::Basic(Secret::new(b"secret".to_vec()));
        let source = source(&tokens.url(), &tokens.revocation_url(), "web", authentication);
        Self::of(control, source, TERMS, store, clock, ring)
    }

    /// Sessions of whoever issues tokens there, with the usual key. They end only with what the issuer grants.
    pub fn at(source: Source, store: &Arc<dyn Store>, clock: &Clock) -> Self {
        let year = Duration::from_secs(365 * 24 * 3600);
        let terms = Terms { idle_timeout: year, lifetime: year, ..TERMS };
        Self::of(&Handle::current(), source, terms, store, clock, KeyRing::new(KEY, []))
    }

    fn of(
        control: &Handle,
        source: Source,
        terms: Terms,
        store: &Arc<dyn Store>,
        clock: &Clock,
        ring: KeyRing,
    ) -> Self {
        let metrics = Metrics::new(&[]).unwrap();
        let telemetry = Arc::new(Telemetry { metrics, access: None, log: None });
        let lines = Settings { format: Format::Json, sample: 1.0, refused: Refused::All };
        let ledger = Ledger::open(&telemetry, &Labels { sessions: &["web"], ..Labels::default() }, lines);
        let plan = Plan {
            name: "web".to_owned(),
            sealer: Sealer { ring, cookie: "__Host-session".to_owned(), origin: "https://app.example.com".to_owned() },
            terms,
            endpoint: TokenEndpoint::new(source, &Client::new(clock.clone()).unwrap(), clock),
            store: Arc::clone(store),
        };
        let renewals = Arc::<Renewals>::default();
        let sessions = Arc::new(Sessions::new(plan, clock, control, &telemetry, &renewals));
        Self { sessions, clock: clock.clone(), renewals, telemetry, _ledger: ledger }
    }

    /// A new session of this login, and its cookie.
    pub async fn login(&self, tokens: &Tokens, name: &str) -> String {
        self.logged_in(login(name), &tokens.login(name)).await
    }

    /// A new session of what a token endpoint answered, and its cookie.
    pub async fn logged_in(&self, login: Login, answer: &Value) -> String {
        let granted = Granted::parse(answer.to_string().as_bytes(), self.clock.wall()).unwrap();
        self.sessions.create(login, granted, NumericDate::from(self.clock.wall())).await.unwrap()
    }

    /// The cookie of a login whose ID token was made at that time, or the code of its refusal.
    pub async fn logged_in_at(&self, tokens: &Tokens, name: &str, issued: f64) -> Result<String, String> {
        let answer = tokens.login(name).to_string();
        let granted = Granted::parse(answer.as_bytes(), self.clock.wall()).unwrap();
        let issued = NumericDate::new(issued).unwrap();
        let created = self.sessions.create(login(name), granted, issued).await;
        created.map_err(|reject| reject.code().to_string())
    }

    /// The access token that goes upstream with a request of that cookie, or the code of its refusal.
    pub async fn access(&self, cookie: &str) -> Result<String, String> {
        let access = async {
            let live = self.sessions.open(cookie).await?.ok_or(Reject::SessionExpired { why: "there is none" })?;
            let live: Arc<Live> = self.sessions.fresh(live, None).await?;
            Ok(live.session.access_token.text.clone())
        };
        access.await.map_err(|reject: Reject| reject.code().to_string())
    }

    /// How often that came of a renewal.
    pub fn refreshes(&self, result: &str) -> u64 {
        self.sample(&format!("bearward_session_refreshes_total{{result=\"{result}\",session=\"web\"}}"))
    }

    /// How often that happened to a session.
    pub fn events(&self, event: &str) -> u64 {
        self.sample(&format!("bearward_sessions_total{{event=\"{event}\",session=\"web\"}}"))
    }

    fn sample(&self, series: &str) -> u64 {
        let text = self.telemetry.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }
}

/// A session of what a token endpoint answered, whose access token is renewed there before it ends.
pub struct Kept {
    pub replica: Replica,
    pub cookie: String,
}

impl Kept {
    /// `hands` move the session's time, by the `expires_in` of the answer, until it was renewed so many times. A server that
    /// runs has a clock of its own, which stays behind: the end of its JWTs hardly moves, so that one time is all there is.
    pub async fn fresh(source: Source, clock: &Clock, hands: &Hands, answer: &Value, times: u64) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock));
        let replica = Replica::at(source, &store, clock);
        let id = claims(answer["id_token"].as_str().unwrap());
        let member = |name: &str| id[name].as_str().map(str::to_owned);
        let login = Login {
            issuer: member("iss").unwrap(),
            subject: member("sub").unwrap(),
            sid: member("sid"),
            claims: Map::new(),
        };
        let cookie = replica.logged_in(login, answer).await;
        let step = Duration::from_secs(answer["expires_in"].as_u64().unwrap()) / 100;
        for _ in 0..times {
            let former = replica.access(&cookie).await.unwrap();
            let mut steps = 0..101;
            while replica.access(&cookie).await.unwrap_or_else(|code| panic!("{id}: {code}")) == former {
                assert!(steps.next().is_some(), "{id}: it is not renewed");
                hands.advance(step);
                replica.renewals.idle().await;
            }
        }
        assert!(replica.refreshes("success") >= times, "{id}");
        Self { replica, cookie }
    }
}

/// Where tokens are refreshed and revoked, and by which client.
pub fn source(token: &str, revocation: &str, client: &str, authentication: Authentication) -> Source {
    let url = |text: &str| Endpoint::At(Url::parse(text).unwrap());
    Source {
        issuer: "https://issuer.example.com".to_owned(),
        token: url(token),
        revocation: Some(url(revocation)),
        client: OauthClient { id: client.to_owned(), authentication },
        timeout: TIMEOUT,
        authorities: None,
        plain_http: PlainHttp::Loopback,
    }
}

/// Who logs in by that name, with `sid` before it as the issuer's session.
pub fn login(name: &str) -> Login {
    let claims: Map<String, Value> = Map::new();
    Login {
        issuer: "https://issuer.example.com".to_owned(),
        subject: name.to_owned(),
        sid: Some(format!("sid-{name}")),
        claims,
    }
}
