//! The way to a server: where it is, what stands there, and the connection that comes of it.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, Pipeline,
    RedisConnectionInfo, RedisError, RedisFuture, RedisResult, Value,
};
use url::{Host, Url};

use crate::config::{self, Secret};

/// The port of a server whose address names none.
const PORT: u16 = 6379;

/// How long a command may take, and how long a connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How often a command is tried again within a cluster, whose nodes may have changed their parts: as often as there is time for.
const RETRIES: u32 = 16;

/// How long it waits before that, in milliseconds.
const PAUSES: Range<u64> = 10..200;

/// What comes of it within [`PATIENCE`].
pub(super) async fn in_time<T>(answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    let late = |_| Err(RedisError::from(io::Error::from(io::ErrorKind::TimedOut)));
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(late)
}

/// Where the server is, and who we are there.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    tls: bool,
    database: i64,
    username: Option<String>,
    password: Option<Secret>,
}

/// A connection to where entries are written.
#[derive(Clone)]
pub(super) enum Link {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Address {
    /// The server at `url`, where we are who `configured` says.
    pub(super) fn new(url: &Url, configured: &config::Store) -> Self {
        Self {
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
        }
    }

    /// Finds out what is there, and connects to where entries are written.
    pub(super) async fn connect(self) -> RedisResult<Link> {
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
                let client = ClusterClient::builder([self.info(&self.host, self.port, true)?])
                    .connection_timeout(PATIENCE)
                    .response_timeout(PATIENCE)
                    .retries(RETRIES)
                    .min_retry_wait(PAUSES.start)
                    .max_retry_wait(PAUSES.end)
                    .build()?;
                in_time(client.get_async_connection()).await.map(Link::Cluster)
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

impl Link {
    /// Whether it finds its way again by itself after an error.
    pub(super) fn mends_itself(&self) -> bool {
        match self {
            Self::Node(_) => false,
            Self::Cluster(_) => true,
        }
    }
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
