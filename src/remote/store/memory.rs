//! `memory:`: what is kept goes with the process.
//!
//! Entries whose time is over are swept out as others are written, so that it holds little more than what counts.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::ready;

use super::{Asked, Given, Name, Store};
use crate::remote::clock::{Clock, Monotonic};

/// Requests of different sessions seldom wait for each other.
const SHARDS: usize = 64;

/// How often a shard is swept at most.
const SWEEP: Duration = Duration::from_secs(10);

/// A store in this process.
pub struct MemoryStore {
    clock: Clock,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Name, Kept<Bytes>>,
    lists: HashMap<Name, Kept<Vec<(Name, Monotonic)>>>,
    swept: Monotonic,
}

struct Kept<T> {
    what: T,
    until: Monotonic,
}

impl MemoryStore {
    /// An empty store that goes by that clock.
    pub fn new(clock: &Clock) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { clock: clock.clone(), hasher: RandomState::new(), shards }
    }

    fn shard(&self, name: &Name) -> MutexGuard<'_, Shard> {
        let place = usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).unwrap_or_default();
        // What it guards is whole after every step.
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn entry(&self, name: &Name, now: Monotonic) -> Option<&Bytes> {
        self.entries.get(name).filter(|kept| now < kept.until).map(|kept| &kept.what)
    }

    fn sweep(&mut self, now: Monotonic) {
        if now.since(self.swept) >= SWEEP {
            self.swept = now;
            self.entries.retain(|_, kept| now < kept.until);
            self.lists.retain(|_, kept| now < kept.until);
        }
    }
}

impl Store for MemoryStore {
    fn read(&self, name: Name) -> Asked<'_, Option<Bytes>> {
        let now = self.clock.now();
        let entry = self.shard(&name).entry(&name, now).cloned();
        ready(Ok(entry)).boxed()
    }

    fn write(&self, name: Name, entry: Bytes, life: Duration, given: Given) -> Asked<'_, bool> {
        let now = self.clock.now();
        let mut shard = self.shard(&name);
        shard.sweep(now);
        let holds = given.holds(shard.entry(&name, now).map(|entry| &entry[..]));
        if holds {
            shard.entries.insert(name, Kept { what: entry, until: now.after(life) });
        }
        ready(Ok(holds)).boxed()
    }

    fn remove(&self, name: Name, given: Given) -> Asked<'_, bool> {
        let now = self.clock.now();
        let mut shard = self.shard(&name);
        let holds = shard.entry(&name, now).is_some_and(|entry| given.holds(Some(entry)));
        if holds {
            shard.entries.remove(&name);
        }
        ready(Ok(holds)).boxed()
    }

    fn enlist(&self, list: Name, member: Name, life: Duration) -> Asked<'_, ()> {
        let now = self.clock.now();
        let until = now.after(life);
        let mut shard = self.shard(&list);
        shard.sweep(now);
        let kept = shard.lists.entry(list).or_insert_with(|| Kept { what: Vec::new(), until });
        kept.what.retain(|(other, until)| now < *until && *other != member);
        kept.what.push((member, until));
        kept.until = kept.until.max(until);
        ready(Ok(())).boxed()
    }

    fn members(&self, list: Name) -> Asked<'_, Vec<Name>> {
        let now = self.clock.now();
        let shard = self.shard(&list);
        let kept = shard.lists.get(&list).map(|kept| kept.what.as_slice()).unwrap_or_default();
        let members = kept.iter().filter(|(_, until)| now < *until).map(|(member, _)| *member).collect();
        ready(Ok(members)).boxed()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}
