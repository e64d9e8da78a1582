//! The key sets of the issuers: fetched ahead of need, kept through outages and restarts, never waited for by a known key.
//!
//! 1. Each issuer's set is fetched at start and every `refresh` after that. After a failure the next try comes sooner:
//!    after a second, then twice as long each time, but at most 5 s while there is no set at all. Each a little early at
//!    random, so that many gateways do not ask at once.
//! 2. Where the server of a set calls it fresh (`Cache-Control: max-age`) for less than `refresh`, the next fetch comes
//!    then, but after a minute at the earliest, and not within `cooldown`. A longer freshness changes nothing: until the
//!    next fetch a key lives on that its issuer has withdrawn, and for how long is the operator's word alone.
//! 3. A token with an unknown `kid` joins one shared fetch. It begins no sooner than `cooldown` after the end of the last
//!    fetch, so that whoever invents kids cannot make us ask more often; it goes on when the caller who began it leaves.
//! 4. A failure keeps the last good set, until that is `max_stale` old. A set without a usable key is a failure.
//! 5. A request reads what is there, without a lock, and waits only for a key that is not: at most [`PATIENCE`].
//! 6. Each good set is written to the issuer's snapshot, where it has one; at the next start that serves until the issuer
//!    answers, as if it had been kept all the time: its age by the wall clock counts toward `max_stale`.
//! 7. When the configuration is exchanged, an issuer whose source is the same keeps its set and its fetching; one whose
//!    source only has other times keeps its set.
//!
//! No unknown `kid` is remembered. Within the cooldown each of them, the invented ones too, is answered by one moment per
//! issuer: that of the last fetch, which did not have it. A list of kids asked for in vain could spare an issuer one fetch
//! per cooldown at most, and only where a stranger repeats himself; but whoever guesses the `kid` of a key to come could
//! put it on that list, and its first tokens would be refused. So nothing here grows with what strangers send.
//!
//! Whether a `kid` is in a set is not asked here: [`KeySets::refetch`] gives the newest set there may be, or says that it
//! cannot; the caller selects again.

mod discovery;
pub mod fault;
mod keeper;
mod shelf;
mod snapshot;
pub mod source;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use self::keeper::Keeper;
use self::shelf::{Ended, Shelf};
pub use self::shelf::{Provenance, Standing};
use self::snapshot::{Snapshot, Writer};
use self::source::KeySource;
use super::clock::{Clock, Elapsed};
use super::http::Client;
use crate::policy::issuer::{Issuer, IssuerId};
use crate::policy::jwk::JwkSet;
use crate::policy::jwt::{SignedClaims, UnverifiedJwt};
use crate::policy::reject::Reject;
use crate::telemetry::labels::{FetchResult, FetchTrigger};

/// How long a request waits for a key set, and how long a fetch may take in all.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The key sets of all issuers of one configuration.
pub struct KeySets {
    clock: Clock,
    /// By [`IssuerId`]; none where an issuer signs with a shared secret.
    kept: Vec<Option<Arc<Kept>>>,
}

/// One issuer's keys and the task that fetches them. Dropped by the last configuration that has them, it fetches no more.
#[derive(Debug)]
struct Kept {
    shelf: Arc<Shelf>,
    keeper: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// What key sets are fetched by.
#[derive(Clone)]
pub struct Fetching {
    /// Where the tasks run.
    pub handle: Handle,
    /// The time.
    pub clock: Clock,
    /// What asks.
    pub client: Client,
    /// Who is told.
    pub observer: Observer,
}

/// What became of a key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A fetch has ended.
    Fetched(FetchEvent),
    /// At the start, a set was read from its snapshot.
    Restored {
        /// Whose keys: the issuer's name.
        issuer: String,
        /// How many usable keys there are now.
        keys: usize,
        /// When they were fetched from the issuer.
        fetched: SystemTime,
    },
}

/// A fetch that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchEvent {
    /// Whose keys: the issuer's name, since its place may be another in the next configuration.
    pub issuer: String,
    /// Why they were fetched.
    pub trigger: FetchTrigger,
    /// How it went.
    pub result: FetchResult,
    /// How many usable keys there are now.
    pub keys: usize,
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
}

/// Who is told of each event when its result is in force.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

impl KeySets {
    /// The keys of `sources`, which stand by [`IssuerId`]; those that were not there `before` begin to be fetched.
    ///
    /// Reads the snapshots and returns; until a set is there, [`KeySets::current`] has none.
    pub fn start(sources: Vec<Option<KeySource>>, fetching: &Fetching, before: Option<&Self>) -> Self {
        let kept = sources.into_iter().map(|source| Some(kept(source?, fetching, before))).collect();
        Self { clock: fetching.clock.clone(), kept }
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

    /// What is held of the issuer's keys; nothing before they were first seen, and where it needs none.
    pub fn standing(&self, issuer: IssuerId) -> Option<Standing> {
        self.shelf(issuer)?.standing(self.clock.now())
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

    /// Finds the key of a token of this issuer, and checks the signature with it.
    ///
    /// # Errors
    ///
    /// `keys_unavailable`, `key_unknown`, `algorithm_refused` or `signature_invalid`.
    pub async fn verify(
        &self,
        (id, issuer): (IssuerId, &Issuer),
        jwt: UnverifiedJwt<'_>,
    ) -> Result<SignedClaims, Reject> {
        if let Some(secret) = &issuer.hmac_secret {
            return jwt.verify(issuer, &[secret.key()]);
        }
        if let Some(set) = self.current(id)
            && let Some(candidates) = issuer.keys(&set, jwt.contents())?
        {
            return jwt.verify(issuer, &candidates);
        }
        let set = self.refetch(id).await?;
        match issuer.keys(&set, jwt.contents())? {
            Some(candidates) => jwt.verify(issuer, &candidates),
            None => Err(issuer.key_unknown(jwt.contents(), "its key set has no such key")),
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
        Some(&*self.kept.get(issuer.0)?.as_ref()?.shelf)
    }
}

fn kept(source: KeySource, fetching: &Fetching, before: Option<&KeySets>) -> Arc<Kept> {
    let known = || before.into_iter().flat_map(|before| before.kept.iter().flatten());
    if let Some(same) = known().find(|known| known.shelf.source == source) {
        return Arc::clone(same);
    }
    let shelf = Arc::new(Shelf::new(source));
    if let Some(known) = known().find(|known| known.shelf.source.is_of_same_origin(&shelf.source)) {
        shelf.take_over(&known.shelf);
    }
    let writer = restore(&shelf, fetching);
    let keeper = Keeper { shelf: Arc::clone(&shelf), fetching: fetching.clone(), writer };
    let keeper = fetching.handle.spawn(keeper.run()).abort_handle();
    Arc::new(Kept { shelf, keeper })
}

/// Reads the shelf's snapshot, if it has one, and puts it in force where there is no set. Returns who writes the next ones.
fn restore(shelf: &Shelf, fetching: &Fetching) -> Option<Writer> {
    let Fetching { handle, clock, observer, .. } = fetching;
    let KeySource { name, snapshot, .. } = &shelf.source;
    let path = snapshot.as_ref()?;
    let file = path.display();
    match Snapshot::load(path, &shelf.source, clock.wall()) {
        Ok(Some(Snapshot { keys, fetched, age })) if !shelf.seen() => {
            let count = keys.len();
            shelf.restore(keys, age, clock.now());
            observer(Event::Restored { issuer: name.clone(), keys: count, fetched });
            let age = age.as_secs();
            tracing::info!(issuer = %name, %file, keys = count, age, "the issuer's keys are those of the snapshot");
        }
        Ok(_) => {}
        Err(distrust) => {
            let help = distrust.help();
            tracing::warn!(issuer = %name, %file, cause = %distrust, help, "the snapshot of the issuer's keys is not used");
            if !distrust.may_be_replaced() {
                return None;
            }
        }
    }
    Some(Writer::start(handle, name.clone(), path.clone()))
}

impl fmt::Debug for KeySets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySets").field("kept", &self.kept).finish_non_exhaustive()
    }
}
