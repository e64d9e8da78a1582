//! `redis:` and `rediss:`: what is kept is shared by all replicas, in Redis or Valkey.
//!
//! 1. One address, whatever is behind it: a server says of itself (`HELLO`) whether it is one alone, a node of a cluster, or
//!    a sentinel. A sentinel is asked where its one master is.
//! 2. One connection is shared by all requests. It is made by the first that needs it, on a runtime of its own, and again when
//!    it is lost; a command that met a lost connection is sent once more. All are written so that twice is as good as once,
//!    or is found out by whoever wrote. The way to a cluster is never given up: it knows all nodes, and mends itself where the
//!    one of our address is gone.
//! 3. Each command is one round trip and waits [`link::PATIENCE`] at most. Nothing waits for a server that is away: the next
//!    command finds it as soon as it is back. Who waits for a connection that cannot be made is refused with who made it.
//! 4. Changes that hang on what is there are scripts of one key each, which a server runs whole.

mod link;

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult};
use tokio::runtime::Handle;
use url::Url;

use self::link::{Address, Link, in_time};
use super::{Asked, Given, Kind, Name, Store, StoreFault};
use crate::config;
use crate::remote::clock::Clock;

/// `KEYS[1]` begins with `ARGV[1]`: it becomes `ARGV[2]`, for `ARGV[3]` milliseconds.
const WRITE: &str = "if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end \
                     redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1";

/// `KEYS[1]` begins with `ARGV[1]`: it goes.
const REMOVE: &str = "if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end \
                      return redis.call('DEL', KEYS[1])";

/// `ARGV[1]` stands in the list `KEYS[1]` for `ARGV[2]` milliseconds; what has stood there for its time goes.
const ENLIST: &str = "local time = redis.call('TIME') local now = time[1] * 1000 + math.floor(time[2] / 1000) \
                      redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now) \
                      redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1]) \
                      if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end \
                      return 1";

/// A store that all replicas share.
pub struct RedisStore {
    address: Address,
    clock: Clock,
    /// Where connections live.
    control: Handle,
    link: Mutex<Linked>,
    connecting: tokio::sync::Mutex<()>,
}

/// The connection, and the how-manieth it is.
#[derive(Default)]
struct Linked {
    link: Option<Link>,
    count: u64,
    /// How many tries to connect came to nothing.
    failed: u64,
}

impl RedisStore {
    /// The store at `url`, where we are who `configured` says; it is waited for by this clock. It is connected when it is first
    /// asked; connections live on the runtime of `control`.
    pub fn new(url: &Url, configured: &config::Store, clock: &Clock, control: &Handle) -> Self {
        Self {
            address: Address::new(url, configured),
            clock: clock.clone(),
            control: control.clone(),
            link: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    fn linked(&self) -> MutexGuard<'_, Linked> {
        // What it guards is whole after every step.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection there is.
    fn there(&self) -> Option<(Link, u64)> {
        let linked = self.linked();
        linked.link.clone().map(|link| (link, linked.count))
    }

    /// The connection there is, or a new one.
    async fn link(&self) -> RedisResult<(Link, u64)> {
        let failed = self.linked().failed;
        if let Some(there) = self.there() {
            return Ok(there);
        }
        let _connecting = self.connecting.lock().await;
        // Somebody else may have connected meanwhile, or tried to. Were each to try for itself, the last of many would wait for
        // all the others' tries at a server that is silent.
        if let Some(there) = self.there() {
            return Ok(there);
        }
        if self.linked().failed != failed {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "somebody else could not connect just now").into());
        }
        let connected = self.control.spawn(self.address.clone().connect(self.clock.clone()));
        let broken_off = |_| RedisError::from((ErrorKind::Io, "the connection broke off"));
        let connected = connected.await.map_err(broken_off).and_then(|connected| connected);
        let mut linked = self.linked();
        let link = connected.inspect_err(|_| linked.failed += 1)?;
        linked.count += 1;
        linked.link = Some(link.clone());
        Ok((link, linked.count))
    }

    /// Lets a connection go; not the one that somebody has made since.
    fn lost(&self, count: u64) {
        let mut linked = self.linked();
        if linked.count == count {
            linked.link = None;
        }
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let (mut link, count) = self.link().await?;
        // A cluster's nodes may be tried one after the other.
        let answer: RedisResult<T> = in_time(&self.clock, command.query_async(&mut link)).await;
        let gone = answer.as_ref().is_err_and(|error| is_lost(error) || error.is_io_error());
        if gone && !link.mends_itself() {
            self.lost(count);
        }
        answer
    }

    /// What a server answers, after a second try where the first met a connection that was lost.
    async fn repeated<T: FromRedisValue>(&self, command: Cmd) -> RedisResult<T> {
        match self.ask(&command).await {
            Err(error) if is_lost(&error) => self.ask(&command).await,
            answer => answer,
        }
    }

    async fn answer<T: FromRedisValue>(&self, command: Cmd) -> Result<T, StoreFault> {
        self.repeated(command).await.map_err(|error| self.fault(&error))
    }

    /// What a server or the way to it said. Entries are never in it, and passwords neither.
    fn fault(&self, error: &RedisError) -> StoreFault {
        StoreFault { why: format!("redis: {error}"), help: self.address.help() }
    }
}

impl Store for RedisStore {
    fn read(&self, name: Name) -> Asked<'_, Option<Bytes>> {
        async move {
            match self.repeated::<Option<Vec<u8>>>(command("GET", &name)).await {
                // What is no text is none of ours: nobody has a session of it.
                Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
                answer => answer.map(|entry| entry.map(Bytes::from)).map_err(|error| self.fault(&error)),
            }
        }
        .boxed()
    }

    fn write(&self, name: Name, entry: Bytes, life: Duration, given: Given) -> Asked<'_, bool> {
        let mut set = command("SET", &name);
        set.arg(&entry[..]).arg("PX").arg(milliseconds(life));
        async move {
            match given {
                Given::Any => self.answer::<Option<String>>(set).await.map(|set| set.is_some()),
                Given::Absent => {
                    set.arg("NX");
                    self.answer::<Option<String>>(set).await.map(|set| set.is_some())
                }
                Given::Begins(beginning) => {
                    let mut script = script(WRITE, &name);
                    script.arg(&beginning[..]).arg(&entry[..]).arg(milliseconds(life));
                    self.answer(script).await
                }
            }
        }
        .boxed()
    }

    fn remove(&self, name: Name, given: Given) -> Asked<'_, bool> {
        async move {
            match given {
                Given::Any => self.answer(command("DEL", &name)).await,
                Given::Absent => Ok(false),
                Given::Begins(beginning) => {
                    let mut script = script(REMOVE, &name);
                    script.arg(&beginning[..]);
                    self.answer(script).await
                }
            }
        }
        .boxed()
    }

    fn enlist(&self, list: Name, member: Name, life: Duration) -> Asked<'_, ()> {
        async move {
            let mut script = script(ENLIST, &list);
            script.arg(&member.hash[..]).arg(milliseconds(life));
            self.answer::<bool>(script).await.map(|_| ())
        }
        .boxed()
    }

    fn members(&self, list: Name) -> Asked<'_, Vec<Name>> {
        async move {
            let mut range = command("ZRANGE", &list);
            range.arg(0).arg(-1);
            let members = self.answer::<Vec<Vec<u8>>>(range).await?;
            let hashes = members.into_iter().filter_map(|member| member.try_into().ok());
            Ok(hashes.map(|hash| Name { kind: Kind::Session, hash }).collect())
        }
        .boxed()
    }
}

fn command(verb: &str, name: &Name) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(key(name));
    command
}

fn script(text: &str, name: &Name) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(1).arg(key(name));
    command
}

fn key(name: &Name) -> String {
    format!("bearward:{}:{}", name.kind.label(), URL_SAFE_NO_PAD.encode(name.hash))
}

/// At least one: a server takes no other.
fn milliseconds(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST)
}

/// The longest life in milliseconds, some 300 years: a server adds it to the time of day.
const LONGEST: u64 = 10_000_000_000_000;

/// Whether another connection may do better at once. One whose answer only came too late is no such.
fn is_lost(error: &RedisError) -> bool {
    // A server that writes no more has been replaced as the master.
    error.is_connection_dropped() || error.code() == Some("READONLY")
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.address.host).field(&self.address.port).finish()
    }
}
