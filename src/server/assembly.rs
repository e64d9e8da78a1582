//! The whole gateway, put together from a configuration: what `run`, the demo and the tests start.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::admin::{Admin, Component};
use super::connection::Bounds;
use super::drain::{Drain, Signals};
use super::{Running, Settings, StartFault, start};
use crate::config::{Config, LogFormat, LogLevel, RefusalLog};
use crate::gateway::request_body::Pace;
use crate::gateway::{Gateway, Shared, SharedFault};
use crate::remote::clock::Clock;
use crate::telemetry::Telemetry;
use crate::telemetry::access::{self, AccessLog};
use crate::telemetry::labels::Labels;
use crate::telemetry::log::{self, Log, LogFault};
use crate::telemetry::metrics::{MetricFault, Metrics};

/// Why the gateway cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    /// A listener or a worker cannot be had.
    #[error(transparent)]
    Start(#[from] StartFault),
    /// No outgoing call is possible.
    #[error(transparent)]
    Shared(#[from] SharedFault),
    /// A thread, a runtime or a signal cannot be had.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
    /// A defect of ours in the metrics.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] MetricFault),
    /// The log cannot be had.
    #[error(transparent)]
    Log(#[from] LogFault),
}

/// A gateway that serves. Dropped, it stops at once.
pub struct Served {
    running: Running,
    shared: Arc<Shared>,
}

/// The metrics of a configuration, without access lines.
///
/// # Errors
///
/// A defect of ours.
pub fn metrics(config: &Config) -> Result<Metrics, MetricFault> {
    let listeners: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    Metrics::new(&Labels {
        routes: &names(config.rules.routes.routes(), |route| &route.name),
        issuers: &names(&config.rules.issuers, |issuer| &issuer.name),
        upstreams: &names(&config.upstreams, |upstream| &upstream.name),
        listeners: &names(&listeners, |listener| listener),
    })
}

fn names<T>(all: &[T], name: impl Fn(&T) -> &String) -> Vec<&str> {
    all.iter().map(|one| name(one).as_str()).collect()
}

/// The process's log and telemetry: metrics, and access lines on standard output.
///
/// # Errors
///
/// The process has a log already, or a thread cannot be started.
pub fn telemetry(config: &Config) -> Result<(Telemetry, Log), ServeFault> {
    let metrics = metrics(config)?;
    let format = match config.log.format {
        LogFormat::Json => log::Format::Json,
        LogFormat::Text => log::Format::Text,
    };
    let level = match config.log.level {
        LogLevel::Error => log::Level::Error,
        LogLevel::Warn => log::Level::Warn,
        LogLevel::Info => log::Level::Info,
        LogLevel::Debug => log::Level::Debug,
        LogLevel::Trace => log::Level::Trace,
    };
    let settings = access::Settings {
        format,
        sample: config.log.access.sample,
        refused: match config.log.access.refused {
            RefusalLog::All => access::Refused::All,
            RefusalLog::Sample => access::Refused::Sampled,
        },
    };
    let process_log = log::start(format, level, metrics.log_lines_dropped())?;
    let lines = AccessLog::start(settings, io::stdout(), metrics.access_lines_dropped())?;
    Ok((Telemetry { metrics, access: Some(lines) }, process_log))
}

impl Served {
    /// Binds every address and serves. What is not a request (fetching keys, the admin listener) runs on `control`, which
    /// must not be the runtime of a single thread that does something else.
    ///
    /// # Errors
    ///
    /// See [`ServeFault`]; nothing is left running then.
    pub fn start(
        config: Config,
        telemetry: Telemetry,
        clock: Clock,
        pace: Pace,
        control: &Handle,
    ) -> Result<Self, ServeFault> {
        let limits = config.server.limits;
        let settings = Settings {
            listen: config.server.listen.clone(),
            admin: config.admin.listen,
            workers: config.server.workers,
            connections: limits.connections,
            bounds: Bounds {
                head_bytes: limits.head_bytes,
                header_timeout: limits.header_timeout,
                idle_timeout: limits.idle_timeout,
            },
            tls: None,
        };
        let telemetry = Arc::new(telemetry);
        let shared = Arc::new(Shared::start(config, Arc::clone(&telemetry), clock, pace, control)?);
        let (for_metrics, for_readiness, for_workers) = (Arc::clone(&shared), Arc::clone(&shared), Arc::clone(&shared));
        let admin = Admin::new(move || for_metrics.telemetry().metrics.render(), move || components(&for_readiness));
        let running = start(&settings, control, &telemetry, admin, move |_| {
            let gateway = Arc::new(Gateway::new(&for_workers));
            move |request, peer| {
                let gateway = Arc::clone(&gateway);
                async move { gateway.handle(request, peer).await }
            }
        })?;
        Ok(Self { running, shared })
    }

    /// The addresses that clients connect to, with the ports that were taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.running.addresses()
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> SocketAddr {
        self.running.admin_address()
    }

    /// The server, for who drains it without a signal.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// What all workers share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Serves until a signal says to stop, then drains; a second signal ends that at once.
    ///
    /// Returns whether every request ended by itself.
    pub async fn until_signalled(&self, signals: &mut Signals) -> bool {
        let times = self.shared.config().server.drain;
        let drain = Drain { delay: times.delay, timeout: times.timeout };
        signals.stop().await;
        tracing::info!(delay = ?drain.delay, timeout = ?drain.timeout, "draining");
        let gently = tokio::select! {
            gently = self.running.drain(drain) => gently,
            () = signals.stop() => false,
        };
        tracing::info!(gently, "stopped");
        gently
    }

    /// Stops at once, and waits for the workers' threads and for the access lines of what they served: not for use in a
    /// task.
    pub fn stop(self) {
        self.running.stop();
        self.shared.telemetry().flush();
    }
}

/// What `/readyz` tells beside the server's own state. An outage after keys were seen once does not count.
fn components(shared: &Shared) -> Vec<Component> {
    let issuers = shared.readiness().into_iter().map(|issuer| {
        let ready = issuer.seen || !issuer.required;
        let why = if ready { String::new() } else { "its keys have not been seen yet".to_owned() };
        Component { name: format!("issuer {}", issuer.name), ready, why }
    });
    let configuration = Component { name: "configuration".to_owned(), ready: true, why: String::new() };
    std::iter::once(configuration).chain(issuers).collect()
}
