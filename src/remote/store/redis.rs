//! `redis:` and `rediss:`: what is kept is shared by all replicas, in Redis or Valkey.
//!
//! 1. One address, whatever is behind it: a server says of itself (`HELLO`) whether it is one alone, a node of a cluster, or
//!    a sentinel. A sentinel is asked where its one master is.
//! 2. One connection is shared by all requests. It is made by the first that needs it, on a runtime of its own, and again when
//!    it is lost; a command that met a lost connection is sent once more. All are written so that twice is as good as once,
//!    or is found out by whoever wrote.
//! 3. Each command is one round trip and waits [`PATIENCE`] at most. Nothing waits for a server that is away: the next
//!    command finds it as soon as it is back.
//! 4. Changes that hang on what is there are scripts of one key each, which a server runs whole.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo as _, Pipeline, RedisConnectionInfo, RedisError, RedisFuture, RedisResult, Value,
};
use tokio::runtime::Handle;
use url::{Host, Url};

use super::{Asked, Given, Kind, Name, Store, StoreFault};
use crate::config::{self, Secret};

/// The port of a server whose address names none.
const PORT: u16 = 6379;

/// How long a command may take, and how long a connection.
const PATIENCE: Duration = Duration::from_secs(1);

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

/// Where the server is, and who we are there.
#[derive(Clone)]
struct Address {
    host: String,
    port: u16,
    tls: bool,
    database: i64,
    username: Option<String>,
    password: Option<Secret>,
}

/// A store that all replicas share.
pub struct RedisStore {
    address: Address,
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
}

#[derive(Clone)]
enum Link {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl RedisStore {
    /// The store at `url`, where we are who `configured` says. It is connected when it is first asked; connections live on the
    /// runtime of `control`.
    pub fn new(url: &Url, configured: &config::Store, control: &Handle) -> Self {
        let address = Address {
            host: match url.host() {
                Some(Host::Ipv6(number)) => number.to_string(),
                Some(Host::Ipv4(number)) => number.to_string(),
                Some(Host::Domain(name)) => name.to_owned(),
                None => String::new(),
            },
            port: url.port().unwrap_or(PORT),
            tls: url.scheme() == "rediss",
            database: url.path().trim_start_matches('/').parse().unwrap_or_default(),
            username: configured.username.clone(),
            password: configured.password.clone(),
        };
        Self { address, control: control.clone(), link: Mutex::default(), connecting: tokio::sync::Mutex::default() }
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
        if let Some(there) = self.there() {
            return Ok(there);
        }
        let _connecting = self.connecting.lock().await;
        // Somebody else may have connected meanwhile.
        if let Some(there) = self.there() {
            return Ok(there);
        }
        let connected = self.control.spawn(self.address.clone().connect());
        let broken_off = |_| RedisError::from((ErrorKind::Io, "the connection broke off"));
        let link = connected.await.map_err(broken_off)??;
        let mut linked = self.linked();
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
        let answer: RedisResult<T> = command.query_async(&mut link).await;
        if answer.as_ref().is_err_and(|error| is_lost(error) || error.is_io_error()) {
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
        self.repeated(command).await.map_err(fault)
    }
}

impl Store for RedisStore {
    fn read(&self, name: Name) -> Asked<'_, Option<Bytes>> {
        async move {
            match self.repeated::<Option<Vec<u8>>>(command("GET", &name)).await {
                // What is no text is none of ours: nobody has a session of it.
                Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
                answer => answer.map(|entry| entry.map(Bytes::from)).map_err(fault),
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

impl Address {
    /// Finds out what is there, and connects to where entries are written.
    async fn connect(self) -> RedisResult<Link> {
        let mut first = match node(self.info(&self.host, self.port, true)?).await {
            // A sentinel may know no passwords though its servers do.
            Err(error) if error.kind() == ErrorKind::AuthenticationFailed && self.password.is_some() => {
                let mut open = node(self.info(&self.host, self.port, false)?).await?;
                if mode(&mut open).await? != "sentinel" {
                    return Err(error);
                }
                open
            }
            first => first?,
        };
        match mode(&mut first).await?.as_str() {
            "cluster" => {
                let nodes = [self.info(&self.host, self.port, true)?];
                let client =
                    ClusterClient::builder(nodes).connection_timeout(PATIENCE).response_timeout(PATIENCE).build()?;
                client.get_async_connection().await.map(Link::Cluster)
            }
            "sentinel" => {
                let masters: Vec<HashMap<String, String>> =
                    redis::cmd("SENTINEL").arg("MASTERS").query_async(&mut first).await?;
                let [master] = &masters[..] else {
                    return Err((ErrorKind::Client, "the sentinel does not watch over exactly one master").into());
                };
                let told = |name: &str| master.get(name).map(String::as_str).unwrap_or_default();
                let port = told("port").parse().unwrap_or_default();
                let master = node(self.info(told("ip"), port, true)?).await?;
                self.select(master).await
            }
            _ => self.select(first).await,
        }
    }

    async fn select(&self, mut link: MultiplexedConnection) -> RedisResult<Link> {
        if self.database != 0 {
            redis::cmd("SELECT").arg(self.database).query_async::<()>(&mut link).await?;
        }
        Ok(Link::Node(link))
    }

    fn info(&self, host: &str, port: u16, authenticated: bool) -> RedisResult<ConnectionInfo> {
        let host = host.to_owned();
        let address = if self.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        // A server need not let us tell it the name of our library.
        let mut us = RedisConnectionInfo::default().set_skip_set_lib_name();
        if authenticated {
            us = self.username.iter().fold(us, |us, username| us.set_username(username));
            if let Some(password) = &self.password {
                let text = std::str::from_utf8(password.reveal());
                let wrong = |_| RedisError::from((ErrorKind::InvalidClientConfig, "the password is no text"));
                us = us.set_password(text.map_err(wrong)?);
            }
        }
        Ok(address.into_connection_info()?.set_redis_settings(us))
    }
}

async fn node(info: ConnectionInfo) -> RedisResult<MultiplexedConnection> {
    let limits =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    Client::open(info)?.get_multiplexed_async_connection_with_config(&limits).await
}

/// What a server says it is: `standalone`, `cluster` or `sentinel`. One that is older than that question is alone.
async fn mode(link: &mut MultiplexedConnection) -> RedisResult<String> {
    let hello: RedisResult<HashMap<String, Value>> = redis::cmd("HELLO").query_async(link).await;
    match hello {
        Ok(mut told) => told
            .remove("mode")
            .map_or_else(|| Ok(String::new()), |mode| redis::from_redis_value(mode).map_err(RedisError::from)),
        Err(error) if error.is_io_error() => Err(error),
        Err(_) => Ok(String::new()),
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

/// What a server or the way to it said. Entries are never in it, and passwords neither.
fn fault(error: RedisError) -> StoreFault {
    StoreFault { why: format!("redis: {error}") }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Node(link) => link.req_packed_command(command),
            Self::Cluster(link) => link.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Node(link) => link.req_packed_commands(pipeline, offset, count),
            Self::Cluster(link) => link.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Node(link) => link.get_db(),
            Self::Cluster(link) => link.get_db(),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.address.host).field(&self.address.port).finish()
    }
}
