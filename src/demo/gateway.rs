//! The gateway of the demo: the parts that `run` puts together, with one worker and without access lines.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::config::Config;
use crate::gateway::request_body::Pace;
use crate::gateway::{Gateway, Shared, SharedFault};
use crate::remote::clock::Clock;
use crate::server::admin::{Admin, Component};
use crate::server::connection::Bounds;
use crate::server::{self, Running, Settings, StartFault};
use crate::telemetry::Telemetry;
use crate::telemetry::labels::Labels;
use crate::telemetry::metrics::{MetricFault, Metrics};

/// The gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum GatewayFault {
    /// A metric: a defect of ours.
    #[error(transparent)]
    Metric(#[from] MetricFault),
    /// Outgoing calls.
    #[error(transparent)]
    Shared(#[from] SharedFault),
    /// A socket or a thread.
    #[error(transparent)]
    Server(#[from] StartFault),
    /// It listens nowhere: a defect of ours.
    #[error("the gateway listens nowhere")]
    Nowhere,
}

/// A gateway that serves.
pub struct Serving {
    running: Running,
    address: SocketAddr,
}

impl Serving {
    /// Serves by this configuration; must be called within a Tokio runtime, which also fetches the keys.
    ///
    /// # Errors
    ///
    /// A part cannot be started.
    pub fn start(config: Config) -> Result<Self, GatewayFault> {
        let telemetry = Telemetry { metrics: metrics(&config)?, access: None };
        let settings = Settings {
            listen: config.server.listen.clone(),
            admin: config.admin.listen,
            workers: 1,
            connections: config.server.limits.connections,
            bounds: Bounds {
                head_bytes: config.server.limits.head_bytes,
                header_timeout: config.server.limits.header_timeout,
                idle_timeout: config.server.limits.idle_timeout,
            },
        };
        let control = Handle::current();
        let shared = Shared::start(config, Arc::new(telemetry), Clock::system(), Pace::default(), &control)?;
        let shared = Arc::new(shared);
        let running = server::start(&settings, &control, admin(&shared), move |_worker| {
            let gateway = Arc::new(Gateway::new(&shared));
            move |request, peer| {
                let gateway = Arc::clone(&gateway);
                async move { gateway.handle(request, peer).await }
            }
        })?;
        let address = running.addresses().first().copied().ok_or(GatewayFault::Nowhere)?;
        Ok(Self { running, address })
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and probes are.
    pub fn admin_address(&self) -> SocketAddr {
        self.running.admin_address()
    }

    /// Stops at once.
    pub async fn stop(self) {
        // Stopping waits for threads, which a task must not. It only fails where it panicked, and all ends anyway.
        let _ = tokio::task::spawn_blocking(move || self.running.stop()).await;
    }
}

fn metrics(config: &Config) -> Result<Metrics, MetricFault> {
    let routes: Vec<&str> = config.rules.routes.routes().iter().map(|route| &*route.name).collect();
    let issuers: Vec<&str> = config.issuers.iter().map(|issuer| &*issuer.name).collect();
    let upstreams: Vec<&str> = config.upstreams.iter().map(|upstream| &*upstream.name).collect();
    let listeners: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    let listeners: Vec<&str> = listeners.iter().map(String::as_str).collect();
    Metrics::new(&Labels { routes: &routes, issuers: &issuers, upstreams: &upstreams, listeners: &listeners })
}

fn admin(shared: &Arc<Shared>) -> Admin {
    let (metrics, readiness) = (Arc::clone(shared), Arc::clone(shared));
    Admin::new(
        move || metrics.telemetry().metrics.render(),
        move || {
            let issuers = readiness.readiness().into_iter().map(|issuer| Component {
                ready: issuer.seen || !issuer.required,
                why: if issuer.seen { String::new() } else { "its keys were never fetched".to_owned() },
                name: issuer.name,
            });
            issuers.collect()
        },
    )
}
