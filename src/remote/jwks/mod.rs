//! The key sets of the issuers: fetched ahead of need, kept through outages, never waited for by a known key.
//!
//! 1. Each issuer's set is fetched at start and every `refresh` after that. After a failure the next try comes sooner:
//!    after a second, then twice as long each time, but at most 5 s while there is no set at all. Each a little early at
//!    random, so that many gateways do not ask at once.
//! 2. A token with an unknown `kid` joins one shared fetch. It begins no sooner than `cooldown` after the end of the last
//!    fetch, so that whoever invents kids cannot make us ask more often; it goes on when the caller who began it leaves.
//! 3. A failure keeps the last good set, until that is `max_stale` old. A set without a usable key is a failure.
//! 4. A request reads a snapshot, without a lock, and waits only for a key that is not there: at most [`PATIENCE`].
//!
//! Whether a `kid` is in a set is not asked here: [`KeySets::refetch`] gives the newest set there may be, or says that it
//! cannot; the caller selects again. Nothing here survives the process.

mod keeper;
pub mod source;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use self::keeper::{Ended, Keeper, Shelf};
use self::source::KeySource;
use super::clock::{Clock, Elapsed};
use super::http::Client;
use crate::policy::issuer::IssuerId;
use crate::policy::jwk::JwkSet;
use crate::policy::reject::Reject;
use crate::telemetry::labels::{FetchResult, FetchTrigger};

/// How long a request waits for a key set, and how long a fetch may take in all.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The key sets of all issuers. Dropped, it fetches no more.
pub struct KeySets {
    clock: Clock,
    /// By [`IssuerId`]; none where an issuer signs with a shared secret.
    shelves: Vec<Option<Arc<Shelf>>>,
    keepers: Vec<AbortHandle>,
}

/// A fetch that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchEvent {
    /// Whose keys.
    pub issuer: IssuerId,
    /// Why they were fetched.
    pub trigger: FetchTrigger,
    /// How it went.
    pub result: FetchResult,
    /// How many usable keys there are now.
    pub keys: usize,
    /// When it ended.
    pub at: SystemTime,
}

/// Who is told of each fetch when it has ended and its result is in force.
pub type Observer = Arc<dyn Fn(FetchEvent) + Send + Sync>;

impl KeySets {
    /// Starts to fetch the keys of `sources`, which stand by [`IssuerId`], on the runtime of `handle`.
    ///
    /// Returns at once; until a set is there, [`KeySets::current`] has none.
    pub fn start(
        handle: &Handle,
        clock: Clock,
        sources: Vec<Option<KeySource>>,
        client: &Client,
        observer: &Observer,
    ) -> Arc<Self> {
        let mut keepers = Vec::new();
        let shelves = sources.into_iter().enumerate().map(|(index, source)| {
            let source = source?;
            let client = source.authorities.as_ref().map_or_else(|| client.clone(), |own| client.trusting(own));
            let shelf = Arc::new(Shelf::new(source));
            let keeper = Keeper::new(IssuerId(index), Arc::clone(&shelf), clock.clone(), client, Arc::clone(observer));
            keepers.push(handle.spawn(keeper.run()).abort_handle());
            Some(shelf)
        });
        let shelves = shelves.collect();
        Arc::new(Self { clock, shelves, keepers })
    }

    /// The issuer's keys as far as they are known; none before the first good fetch, and when the last one is too old.
    pub fn current(&self, issuer: IssuerId) -> Option<Arc<JwkSet>> {
        self.shelf(issuer)?.current(self.clock.now())
    }

    /// Whether the issuer's keys were ever seen; also where it needs none.
    ///
    /// Stays true through a later outage.
    pub fn seen(&self, issuer: IssuerId) -> bool {
        self.shelf(issuer).is_none_or(Shelf::seen)
    }

    /// The newest set there may be, for a token whose key is not in [`KeySets::current`].
    ///
    /// Joins the fetch that is in progress, or begins one where the last one ended `cooldown` ago; within the cooldown
    /// the last one's result stands. A caller may come from any runtime, and may leave at any time.
    ///
    /// # Errors
    ///
    /// [`Reject::KeysUnavailable`] where the fetch failed or takes longer than [`PATIENCE`], and where there is no set.
    pub async fn refetch(&self, issuer: IssuerId) -> Result<Arc<JwkSet>, Reject> {
        let Some(shelf) = self.shelf(issuer) else {
            return Err(Reject::KeysUnavailable {
                issuer: format!("number {}", issuer.0),
                why: "it has no key set".to_owned(),
                retry_after: PATIENCE.as_secs(),
            });
        };
        let now = self.clock.now();
        match self.clock.until(now.after(PATIENCE), shelf.end_of_fetch(now)).await {
            Ok(Some(ended)) => self.verdict(shelf, ended),
            Ok(None) | Err(Elapsed) => {
                Err(shelf.unavailable("its key set is still being fetched".to_owned(), PATIENCE))
            }
        }
    }

    fn verdict(&self, shelf: &Shelf, ended: Ended) -> Result<Arc<JwkSet>, Reject> {
        let now = self.clock.now();
        let again = shelf.source.cooldown.saturating_sub(now.since(ended.at));
        match ended.fault {
            Some(fault) => Err(shelf.unavailable(fault.to_string(), again)),
            None => shelf.current(now).ok_or_else(|| shelf.unavailable("its key set is too old".to_owned(), again)),
        }
    }

    fn shelf(&self, issuer: IssuerId) -> Option<&Shelf> {
        self.shelves.get(issuer.0)?.as_deref()
    }
}

impl Drop for KeySets {
    fn drop(&mut self) {
        for keeper in &self.keepers {
            keeper.abort();
        }
    }
}

impl fmt::Debug for KeySets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySets").field("shelves", &self.shelves).finish_non_exhaustive()
    }
}
