//! Tokens of keys that nobody has come in a flood: each is refused, the issuer is left alone, and good requests are answered
//! as fast as without it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::{Ask, exchange};
use crate::fate::{Fate, Fates};
use crate::harness::issuer::Document;
use crate::harness::mint::Key;
use crate::world::{Tokens, World};

/// How long each span is, with the flood and without it in turn.
const SPAN: Duration = Duration::from_secs(10);
/// How often.
const TURNS: usize = 3;
/// Requests in a second.
const GOOD: u32 = 500;
/// Requests in a second of the flood: 10,000 in a span.
const FLOOD: u32 = 1000;
/// By how much two spans differ on a machine that has something else to do.
const NOISE: Duration = Duration::from_millis(5);
/// How many connections each of both has.
const CONNECTIONS: u32 = 10;

pub async fn run() -> bool {
    let key = Key::p256("key");
    let world = World::start(key, "", "", "").await;
    world.gateway.says("the issuer's keys are here");
    let fetched = world.issuer.requests(Document::Keys);
    let good = Arc::new(world.tokens(key, 200));
    let unknown = |claims: &Value| key.sign(&json!({ "alg": "ES256", "typ": "at+jwt", "kid": claims["jti"] }), claims);
    let unknown = Arc::new(world.tokens_by(10_000, unknown));
    let (fates, refused) = (Arc::<Fates>::default(), Arc::<Fates>::default());
    let (mut calm, mut flooded) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    for _ in 0..TURNS {
        calm.push(p99(steadily(&world, &good, GOOD, &fates).await));
        let both = tokio::join!(steadily(&world, &good, GOOD, &fates), steadily(&world, &unknown, FLOOD, &refused));
        flooded.push(p99(both.0));
    }
    let (calm, flooded) = (median(calm), median(flooded));
    let fetches = world.issuer.requests(Document::Keys) - fetched;
    // One per cooldown, and one where its time came.
    let allowed = begun.elapsed().as_secs() / 10 + 2;
    println!(
        "kids: {GOOD} good requests per second and {FLOOD} of unknown keys: p99 {} us, without these {} us; {fetches} fetches; \
         good: {fates}; flood: {refused}",
        flooded.as_micros(),
        calm.as_micros(),
    );
    let all_refused = refused.of(Fate::Refused) == refused.sent() && refused.sent() > 0;
    let as_fast = flooded <= calm * 2 + NOISE;
    fates.lost() == 0 && all_refused && as_fast && fetches as u64 <= allowed
}

/// Sends requests at a steady rate over kept connections for a span: how long each took, from when it was due.
async fn steadily(world: &World, tokens: &Arc<Tokens>, rate: u32, fates: &Arc<Fates>) -> Vec<Duration> {
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (address, tokens, fates) = (world.gateway.address, Arc::clone(tokens), Arc::clone(fates));
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut ticks = interval(Duration::from_secs(1) * CONNECTIONS / rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let (mut took, mut buffer, end) = (Vec::new(), Vec::new(), Instant::now() + SPAN);
            while Instant::now() < end {
                let due = ticks.tick().await.into_std();
                let ask = Ask { path: "/orders/0".to_owned(), token: Some(tokens.next()), elsewhere: false };
                fates.count(exchange(&mut stream, &mut buffer, &ask).await.0);
                took.push(due.elapsed());
            }
            took
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[(took.len() - 1) * 99 / 100]
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}
