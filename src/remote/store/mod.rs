//! Where sessions are kept, with what belongs to them: one trait, and one file for each kind of store.
//!
//! 1. What is kept is opaque: sealed, hashed or random. A dump of a store tells no token, nobody's name and no cookie.
//! 2. Every entry has an end, after which it is as if it were not there.
//! 3. A change can hang on what is there at that moment ([`Given`]): it happens whole, and for one of several who want it.
//!    That is how a session is changed by one replica at a time, and how a mark is set once.
//! 4. Every call has a limit. A store that cannot be asked is a [`StoreFault`], and is asked again by the next call.

mod file;
mod memory;
mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

pub use self::file::FileStore;
pub use self::memory::MemoryStore;
pub use self::redis::RedisStore;
use super::clock::Clock;
use crate::config::{self, StoreAddress};
use crate::policy::reject::Reject;

/// What a store is asked to do, and its answer.
pub type Asked<'s, T> = BoxFuture<'s, Result<T, StoreFault>>;

/// A store. All who share it see the same.
pub trait Store: fmt::Debug + Send + Sync {
    /// The entry of that name.
    fn read(&self, name: Name) -> Asked<'_, Option<Bytes>>;

    /// Writes an entry that is kept for `life`, where `given` holds; says whether it did.
    fn write(&self, name: Name, entry: Bytes, life: Duration, given: Given) -> Asked<'_, bool>;

    /// Removes an entry, where `given` holds; says whether it was there and did.
    fn remove(&self, name: Name, given: Given) -> Asked<'_, bool>;

    /// Puts a name into a list, which is kept for `life` from now on if it would end sooner.
    fn enlist(&self, list: Name, member: Name, life: Duration) -> Asked<'_, ()>;

    /// The names in a list, those of entries that are gone among them.
    fn members(&self, list: Name) -> Asked<'_, Vec<Name>>;

    /// Gives back what it holds, for the end of the process: what is asked after that is a fault. Blocks its thread, within
    /// bounds, until what was asked before is done.
    fn close(&self) {}
}

/// The store of that configuration. What it needs of the world it gets when it is first asked; it lives on the runtime of
/// `control`, whoever asks.
pub fn open(configured: &config::Store, clock: &Clock, control: &Handle) -> Arc<dyn Store> {
    match &configured.address {
        StoreAddress::Memory => Arc::new(MemoryStore::new(clock)),
        StoreAddress::File(path) => Arc::new(FileStore::new(path, clock, control)),
        StoreAddress::Redis(url) => Arc::new(RedisStore::new(url, configured, clock, control)),
    }
}

/// Why a command cannot see what the gateway sees in its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// Only the gateway's process can have it.
    Elsewhere {
        /// Why.
        why: String,
        /// What the operator can do about it.
        help: &'static str,
    },
    /// The gateway cannot see it either.
    Fault(StoreFault),
}

/// The entry of that name in the store of that configuration, for commands that only look: nothing is changed there, and a
/// file that is not there is not made.
///
/// # Errors
///
/// Says why it cannot be seen.
pub async fn look(
    configured: &config::Store,
    name: Name,
    clock: &Clock,
    control: &Handle,
) -> Result<Option<Bytes>, Unseen> {
    match &configured.address {
        StoreAddress::Memory => Err(Unseen::Elsewhere {
            why: "with `memory:` sessions are in the memory of the running gateway, which no other process can read"
                .to_owned(),
            help: "keep sessions in `redis:`, or explain the session's access token by --token-file",
        }),
        StoreAddress::File(path) => file::look(path, &name, clock.wall()),
        StoreAddress::Redis(url) => {
            RedisStore::new(url, configured, clock, control).read(name).await.map_err(Unseen::Fault)
        }
    }
}

/// The name of an entry or a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    /// What it is.
    pub kind: Kind,
    /// A hash, or a text of the kind's own that tells nothing.
    pub hash: [u8; 32],
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A sealed session.
    Session,
    /// The sessions of a login at an issuer, or of a subject: a list.
    Index,
    /// Something that may happen once: it has.
    Mark,
}

impl Kind {
    /// Its name, where names are texts.
    pub fn label(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Index => "index",
            Self::Mark => "mark",
        }
    }
}

/// What must be there for a change to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Nothing.
    Absent,
    /// An entry that begins so. Sealed entries begin with their nonce, so that tells one from every other.
    Begins(Bytes),
    /// Anything or nothing.
    Any,
}

impl Given {
    /// Whether it holds of what is there.
    pub fn holds(&self, entry: Option<&[u8]>) -> bool {
        match self {
            Self::Absent => entry.is_none(),
            Self::Begins(beginning) => entry.is_some_and(|entry| entry.starts_with(beginning)),
            Self::Any => true,
        }
    }
}

/// The store could not be asked, or did not answer as a store does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct StoreFault {
    /// What happened.
    pub why: String,
    /// What the operator can do about it.
    pub help: &'static str,
}

impl StoreFault {
    /// A defect of ours.
    pub fn defect(why: &str) -> Self {
        Self { why: why.to_owned(), help: "this is a defect of the gateway; report it with the log around it" }
    }
}

impl From<StoreFault> for Reject {
    fn from(StoreFault { why, help }: StoreFault) -> Self {
        Self::StoreUnavailable { why, help }
    }
}
