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
use crate::remote::clock::{Clock, Elapsed};

/// The port of a server whose address names none.
const PORT: u16 = 6379;

/// How long a command may take, and how long a connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How often a command is tried again within a cluster, whose nodes may have changed their parts: as often as there is time for.
const RETRIES: u32 = 16;

/// How long it waits before that, in milliseconds.
const PAUSES: Range<u64> = 10..200;

/// What comes of it within [`PATIENCE`], by that clock.
pub(super) async fn in_time<T>(clock: &Clock, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    let late = |Elapsed| Err(RedisError::from(io::Error::from(io::ErrorKind::TimedOut)));
    clock.until(clock.now().after(PATIENCE), answer).await.unwrap_or_else(late)
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

    /// What to look at where it does not answer, for the operator.
    pub(super) fn help(&self) -> &'static str {
        if self.tls {
            "see that the server answers at `url` and that its certificate is for that name and of an authority that the \
             system trusts, or of one in the file that SSL_CERT_FILE names; the next request asks it again"
        } else {
            "see that the server answers at `url`; the next request asks it again"
        }
    }

    /// Finds out what is there, and connects to where entries are written. Each step has its time by that clock.
    pub(super) async fn connect(self, clock: Clock) -> RedisResult<Link> {
        let clock = &clock;
        let mut first = match node(self.info(&self.host, self.port, true)?, clock).await {
            // A sentinel may know no passwords though its servers do.
            Err(error) if error.kind() == ErrorKind::AuthenticationFailed && self.password.is_some() => {
                let mut open = node(self.info(&self.host, self.port, false)?, clock).await?;
                if mode(&mut open, clock).await? != "sentinel" {
                    return Err(error);
                }
                open
            }
            first => first?,
        };
        match mode(&mut first, clock).await?.as_str() {
            "cluster" => {
                let client = ClusterClient::builder([self.info(&self.host, self.port, true)?])
                    .connection_timeout(PATIENCE)
                    .response_timeout(PATIENCE)
                    .retries(RETRIES)
                    .min_retry_wait(PAUSES.start)
                    .max_retry_wait(PAUSES.end)
                    .build()?;
                in_time(clock, client.get_async_connection()).await.map(Link::Cluster)
            }
            "sentinel" => {
                let mut question = redis::cmd("SENTINEL");
                let asked = question.arg("MASTERS").query_async(&mut first);
                let masters: Vec<HashMap<String, String>> = in_time(clock, asked).await?;
                let [master] = &masters[..] else {
                    return Err((ErrorKind::Client, "the sentinel does not watch over exactly one master").into());
                };
                let told = |name: &str| master.get(name).map(String::as_str).unwrap_or_default();
                let port = told("port").parse().unwrap_or_default();
                let master = node(self.info(told("ip"), port, true)?, clock).await?;
                self.select(master, clock).await
            }
            _ => self.select(first, clock).await,
        }
    }

    async fn select(&self, mut link: MultiplexedConnection, clock: &Clock) -> RedisResult<Link> {
        if self.database != 0 {
            in_time(clock, redis::cmd("SELECT").arg(self.database).query_async::<()>(&mut link)).await?;
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

async fn node(info: ConnectionInfo, clock: &Clock) -> RedisResult<MultiplexedConnection> {
    // The limits are ours: whoever asks has one of his own.
    let unlimited = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    in_time(clock, Client::open(info)?.get_multiplexed_async_connection_with_config(&unlimited)).await
}

/// What a server says it is: `standalone`, `cluster` or `sentinel`. One that is older than that question is alone.
async fn mode(link: &mut MultiplexedConnection, clock: &Clock) -> RedisResult<String> {
    let hello: RedisResult<HashMap<String, Value>> = in_time(clock, redis::cmd("HELLO").query_async(link)).await;
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
