//! The gateway itself, in this process: a configuration as an operator writes it, on free ports.

use std::io::{Result, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bearward::config::{Config, Reading};
use bearward::gateway::request_body::Pace;
use bearward::remote::clock::Clock;
use bearward::server::assembly::{self, metrics};
use bearward::server::drain::Drain;
use bearward::server::reload::Reloads;
use bearward::telemetry::Telemetry;
use bearward::telemetry::access::AccessLog;
use tokio::runtime::Handle;

use super::client::Client;
use super::port::Port;

/// A limit of the gateway's that passes in a test, and must not pass before its time: longer than a machine that is busy lets
/// everybody stand still.
pub const LIMIT: Duration = Duration::from_secs(6);

/// A running gateway. Dropped, it stops at once.
pub struct Served {
    server: assembly::Served,
    lines: Kept,
    /// Nobody else listens there after it has been drained.
    _port: Port,
}

/// Access lines, kept instead of written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Served {
    /// A gateway of this configuration with one worker, its addresses replaced by free ones on loopback.
    pub fn start(toml: &str) -> Self {
        Self::start_with(toml, Clock::system(), Pace::default())
    }

    /// The same, with another idea of a slow body.
    pub fn paced(toml: &str, pace: Pace) -> Self {
        Self::start_with(toml, Clock::system(), pace)
    }

    /// The same, with a clock that a test moves.
    pub fn timed(toml: &str, clock: Clock) -> Self {
        Self::start_with(toml, clock, Pace::default())
    }

    /// The same, with both.
    pub fn start_with(toml: &str, clock: Clock, pace: Pace) -> Self {
        Self::of(load(toml), clock, pace)
    }

    fn of(config: Config, clock: Clock, pace: Pace) -> Self {
        let metrics = metrics(&config).unwrap();
        let lines = Kept::default();
        let access = AccessLog::start(lines.clone(), metrics.access_lines_dropped()).unwrap();
        let telemetry = Telemetry { metrics, access: Some(access), log: None };
        let server = assembly::Served::start(config, telemetry, clock, pace, &Handle::current()).unwrap();
        let port = Port::of_gateway(server.addresses()[0]);
        Self { server, lines, _port: port }
    }

    /// The gateway of a file, which must say port 0 and one worker, and its reloads.
    pub fn of_file(path: &Path, clock: Clock) -> (Self, Reloads) {
        let Reading { outcome, files } = Config::read(path);
        let config = outcome.unwrap_or_else(|report| panic!("{}", report.render(false))).config;
        (Self::of(config, clock, Pace::default()), Reloads::new(path.to_owned(), files, false))
    }

    /// Takes another configuration into force.
    pub fn adopt(&self, toml: &str) {
        assert!(self.server.adopt(load(toml)).unwrap().is_empty());
    }

    pub fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.server.admin_address()
    }

    /// Lets connections that open from now on be idle for so long once it closes.
    pub fn waits(&self, moment: Duration) {
        let mut terms = self.running().terms().as_ref().clone();
        terms.bounds.moment = moment;
        self.running().adopt(terms);
    }

    /// What all workers share.
    pub fn shared(&self) -> &bearward::gateway::Shared {
        self.server.shared()
    }

    /// The assembled server.
    pub fn server(&self) -> &assembly::Served {
        &self.server
    }

    /// The configuration in force.
    pub fn in_force(&self) -> std::sync::Arc<bearward::gateway::InForce> {
        self.server.in_force()
    }

    /// The access lines of the requests that are counted by now.
    pub fn access_lines(&self) -> Vec<String> {
        let access = self.shared().telemetry().access.as_ref().unwrap();
        access.flush(Duration::from_secs(30));
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Stops it gently; says whether all that was under way has ended.
    pub async fn drain(&self, drain: Drain) -> bool {
        self.server.drain(drain).await
    }

    /// The server, to be drained or stopped.
    pub fn running(&self) -> &bearward::server::Running {
        self.server.running()
    }

    /// Returns once a sample of `/metrics` has this value. What is counted at a connection's end is counted a moment after
    /// its client has seen that end.
    pub async fn counted(&self, series: &str, value: f64) {
        let sampled = async {
            while self.sample(series) != Some(value) {
                tokio::task::yield_now().await;
            }
        };
        let patience = Duration::from_secs(30);
        let counted = tokio::time::timeout(patience, sampled).await;
        assert!(counted.is_ok(), "{series} is {:?}, not {value}", self.sample(series));
    }

    /// Returns once it is ready: its issuers are seen in the background.
    pub async fn ready(&self) {
        let told = async { while Client::connect(self.admin_address()).await.get("/readyz").await.status != 200 {} };
        tokio::time::timeout(Duration::from_secs(30), told).await.expect("it is not ready");
    }

    /// The value of one sample of `/metrics`.
    pub fn sample(&self, series: &str) -> Option<f64> {
        let text = self.shared().telemetry().metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }
}

/// The configuration of this text, for one worker on free addresses of loopback.
fn load(toml: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bearward.toml");
    std::fs::write(&path, toml).unwrap();
    let loaded = Config::load(&path).unwrap_or_else(|report| panic!("{}", report.render(false)));
    let mut config = loaded.config;
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    config.server.listen = vec![loopback];
    config.admin.listen = loopback;
    config.server.workers = 1;
    config
}
