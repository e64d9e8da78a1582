//! The gateway itself, in this process: a configuration as an operator writes it, on free ports.

use std::net::SocketAddr;
use std::sync::Arc;

use bearward::config::Config;
use bearward::gateway::request_body::Pace;
use bearward::gateway::{Gateway, Shared};
use bearward::remote::clock::Clock;
use bearward::server::admin::Admin;
use bearward::server::connection::Bounds;
use bearward::server::{Running, Settings, start};
use bearward::telemetry::Telemetry;
use bearward::telemetry::labels::Labels;
use bearward::telemetry::metrics::Metrics;
use tokio::runtime::Handle;

/// A running gateway. Dropped, it stops at once.
pub struct Served {
    pub running: Running,
    pub telemetry: Arc<Telemetry>,
}

impl Served {
    /// A gateway of this configuration with one worker, its addresses replaced by free ones on loopback.
    pub fn start(toml: &str) -> Self {
        Self::paced(toml, Pace::default())
    }

    /// The same, with another idea of a slow body.
    pub fn paced(toml: &str, pace: Pace) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bearward.toml");
        std::fs::write(&path, toml).unwrap();
        let config = Config::load(&path).unwrap_or_else(|report| panic!("{report:?}")).config;

        let routes: Vec<_> = config.rules.routes.routes().iter().map(|route| route.name.as_str()).collect();
        let issuers: Vec<_> = config.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
        let upstreams: Vec<_> = config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let labels = Labels { routes: &routes, issuers: &issuers, upstreams: &upstreams, listeners: &["public"] };
        let telemetry = Arc::new(Telemetry { metrics: Metrics::new(&labels).unwrap(), access: None });

        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let limits = config.server.limits;
        let settings = Settings {
            listen: vec![loopback],
            admin: loopback,
            workers: 1,
            connections: limits.connections,
            bounds: Bounds {
                head_bytes: limits.head_bytes,
                header_timeout: limits.header_timeout,
                idle_timeout: limits.idle_timeout,
            },
        };
        let control = Handle::current();
        let shared = Shared::start(config, Arc::clone(&telemetry), Clock::system(), pace, &control).unwrap();
        let shared = Arc::new(shared);
        let for_metrics = Arc::clone(&telemetry);
        let admin = Admin::new(move || for_metrics.metrics.render(), Vec::new);
        let running = start(&settings, &control, &telemetry, admin, move |_| {
            let gateway = Arc::new(Gateway::new(&shared));
            move |request, peer| {
                let gateway = Arc::clone(&gateway);
                async move { gateway.handle(request, peer).await }
            }
        })
        .unwrap();
        Self { running, telemetry }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
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
        let text = self.telemetry.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }
}
