//! The key engine alone: one issuer, and the clock in our hands.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bearward::policy::issuer::IssuerId;
use bearward::policy::jwk::{JwkSet, Selection};
use bearward::policy::jwt::Algorithm;
use bearward::policy::reject::Code;
use bearward::remote::clock::{Clock, Hands};
use bearward::remote::http::{Client, PlainHttp};
use bearward::remote::jwks::source::{KeySource, Origin};
use bearward::remote::jwks::{Event, FetchEvent, Fetching, KeySets};
use bearward::telemetry::labels::{FetchResult, FetchTrigger};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::harness::issuer::{Document, Issuer};

pub const ID: IssuerId = IssuerId(0);
pub const START: Duration = Duration::from_secs(1_800_000_000);
pub const REFRESH: Duration = Duration::from_secs(300);
pub const COOLDOWN: Duration = Duration::from_secs(10);
pub const MAX_STALE: Duration = Duration::from_secs(24 * 3600);

/// The issuer `main` of that name, with the usual times.
pub fn source(issuer: &str, origin: Origin) -> KeySource {
    KeySource {
        name: "main".to_owned(),
        issuer: issuer.to_owned(),
        origin,
        digest: None,
        bearer_file: None,
        authorities: None,
        plain_http: PlainHttp::Loopback,
        refresh: REFRESH,
        cooldown: COOLDOWN,
        max_stale: MAX_STALE,
        snapshot: None,
    }
}

/// A key engine for one issuer, with the clock in our hands.
pub struct World {
    pub sets: Arc<KeySets>,
    pub hands: Hands,
    pub events: mpsc::UnboundedReceiver<Event>,
}

impl World {
    /// An engine that has just been started.
    pub fn start(issuer: &str, origin: Origin) -> Self {
        Self::start_with(source(issuer, origin))
    }

    /// The same with whatever else is to be different.
    pub fn start_with(source: KeySource) -> Self {
        Self::start_after(Duration::ZERO, source)
    }

    /// The same, when this much time has gone by since [`START`].
    pub fn start_after(wait: Duration, source: KeySource) -> Self {
        let (clock, hands) = Clock::manual(SystemTime::UNIX_EPOCH + START + wait);
        let (sender, events) = mpsc::unbounded_channel();
        let client = Client::new(clock.clone()).unwrap();
        let observer = Arc::new(move |event| {
            // The test may be over.
            let _ = sender.send(event);
        });
        let fetching = Fetching { handle: Handle::current(), clock, client, observer };
        let sets = Arc::new(KeySets::start(vec![Some(source)], &fetching, None));
        Self { sets, hands, events }
    }

    /// An engine that finds the keys by discovery.
    pub fn of(issuer: &Issuer) -> Self {
        Self::start(&issuer.url(), Origin::Discovery(issuer.url_of(Document::Discovery).parse().unwrap()))
    }

    /// An engine that was told where the keys are.
    pub fn at_keys_of(issuer: &Issuer) -> Self {
        Self::start(&issuer.url(), Origin::Uri(issuer.url_of(Document::Keys).parse().unwrap()))
    }

    /// The next fetch that ends.
    pub async fn event(&mut self) -> FetchEvent {
        match patiently(self.events.recv()).await.unwrap() {
            Event::Fetched(fetch) => fetch,
            Event::Restored { .. } => panic!("a snapshot, not a fetch"),
        }
    }

    /// That the engine begins with so many keys of a snapshot, which were fetched this long after [`START`].
    pub async fn expect_restored(&mut self, keys: usize, since_start: Duration) {
        let fetched = SystemTime::UNIX_EPOCH + START + since_start;
        let expected = Event::Restored { issuer: "main".to_owned(), keys, fetched };
        assert_eq!(patiently(self.events.recv()).await, Some(expected));
    }

    pub async fn expect(&mut self, trigger: FetchTrigger, result: FetchResult, keys: usize) {
        let event = self.event().await;
        assert_eq!((event.trigger, event.result, event.keys), (trigger, result, keys));
    }

    /// Lets the time of the next refresh come.
    pub async fn refresh(&mut self, result: FetchResult, keys: usize) {
        self.hands.advance(REFRESH);
        self.expect(FetchTrigger::Refresh, result, keys).await;
    }

    /// How a token with this `kid` fares, as the gateway asks: the set that is there, then at most one refetch.
    pub async fn ask(&self, kid: &str) -> Result<(), Code> {
        patiently(ask(&self.sets, kid)).await
    }

    /// Lets `wait` pass, and sees that nothing is asked of the issuer before the last tenth of it.
    pub async fn advance_quietly(&self, wait: Duration, issuer: &Issuer) {
        let asked = issuer.requests(Document::Keys);
        let early = wait.mul_f64(0.89);
        self.hands.advance(early);
        issuer.round_trip().await;
        assert_eq!(issuer.requests(Document::Keys), asked, "asked too early");
        self.hands.advance(wait - early);
    }

    pub fn no_more_events(&mut self) {
        assert_eq!(self.events.try_recv().ok(), None);
    }
}

pub async fn ask(sets: &KeySets, kid: &str) -> Result<(), Code> {
    let has = |set: &JwkSet| {
        let kid = Some(kid);
        [Algorithm::ES256, Algorithm::RS256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDSA]
            .into_iter()
            .any(|algorithm| matches!(set.select(kid, algorithm), Selection::Keys(_)))
    };
    if sets.current(ID).is_some_and(|set| has(&set)) {
        return Ok(());
    }
    match sets.refetch(ID).await {
        Ok(set) if has(&set) => Ok(()),
        Ok(_) => Err(Code::KeyUnknown),
        Err(reject) => Err(reject.code()),
    }
}

pub async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("this does not come")
}

pub fn known(world: &World) -> usize {
    world.sets.current(ID).map_or(0, |set| set.len())
}
