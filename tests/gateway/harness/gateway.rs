//! The gateway itself, in this process: a configuration as an operator writes it, on free ports.

use std::net::SocketAddr;

use bearward::config::Config;
use bearward::gateway::request_body::Pace;
use bearward::remote::clock::Clock;
use bearward::server::assembly::{self, metrics};
use bearward::telemetry::Telemetry;
use tokio::runtime::Handle;

/// A running gateway. Dropped, it stops at once.
pub struct Served(assembly::Served);

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
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bearward.toml");
        std::fs::write(&path, toml).unwrap();
        let loaded = Config::load(&path).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let mut config = loaded.config;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        config.server.listen = vec![loopback];
        config.admin.listen = loopback;
        config.server.workers = 1;
        let telemetry = Telemetry { metrics: metrics(&config).unwrap(), access: None };
        Self(assembly::Served::start(config, telemetry, clock, pace, &Handle::current()).unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.0.addresses()[0]
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.0.admin_address()
    }

    /// What all workers share.
    pub fn shared(&self) -> &bearward::gateway::Shared {
        self.0.shared()
    }

    /// The server, to be drained or stopped.
    pub fn running(&self) -> &bearward::server::Running {
        self.0.running()
    }

    /// Returns once a sample of `/metrics` has this value. What is counted at a connection's end is counted a moment after
    /// its client has seen that end.
    pub async fn counted(&self, series: &str, value: f64) {
        let sampled = async {
            while self.sample(series) != Some(value) {
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_secs(30);
        let counted = tokio::time::timeout(patience, sampled).await;
        assert!(counted.is_ok(), "{series} is {:?}, not {value}", self.sample(series));
    }

    /// The value of one sample of `/metrics`.
    pub fn sample(&self, series: &str) -> Option<f64> {
        let text = self.shared().telemetry().metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }
}
