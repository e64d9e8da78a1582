//! Browser sessions: what a cookie opens, when a session ends, and how its access token is kept fresh.

mod cookies;
mod dialects;
mod failover;
mod providers;
mod refresh;
mod replicas;
mod shared_store;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bearward::remote::clock::{Clock, Hands};
use bearward::remote::store::{MemoryStore, Store};

use crate::harness::replica::Replica;
use crate::harness::tokens::Tokens;

/// An issuer, and gateways over one store whose clock a test moves.
struct World {
    tokens: Tokens,
    store: Arc<dyn Store>,
    clock: Clock,
    hands: Hands,
}

impl World {
    async fn start() -> Self {
        let (clock, hands) = Clock::manual(SystemTime::now());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(&clock));
        Self { tokens: Tokens::start().await, store, clock, hands }
    }

    fn replica(&self) -> Replica {
        Replica::new(&self.tokens, &self.store, &self.clock)
    }

    /// A gateway, and the cookie of a login at it whose access token lasts 10 minutes.
    async fn logged_in(&self) -> (Replica, String) {
        let replica = self.replica();
        let cookie = replica.login(&self.tokens, "alice").await;
        (replica, cookie)
    }

    fn pass(&self, seconds: u64) {
        self.hands.advance(Duration::from_secs(seconds));
    }
}

/// The token that alice's login is granted the how-manieth time.
fn access(number: usize) -> Result<String, String> {
    Ok(format!("access-alice-{number}"))
}

fn refused<T>(code: &str) -> Result<T, String> {
    Err(code.to_owned())
}
