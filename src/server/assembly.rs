//! The whole gateway, put together from a configuration: what `run`, the demo and the tests start.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::admin::{Admin, Component, Keys};
use super::connection::Bounds;
use super::drain::{Drain, Hangups, Signals};
use super::entrance::Entrance;
use super::expiry;
use super::reload::Reloads;
use super::room::Terms;
use super::{Running, Settings, StartFault, memory, start};
use crate::config::{Certificate, Config, Server};
use crate::gateway::request_body::Pace;
use crate::gateway::{Gateways, InForce, PROVEN_BYTES, Shared, SharedFault, log_format, log_level};
use crate::remote::clock::Clock;
use crate::remote::jwks::Provenance;
use crate::telemetry::Telemetry;
use crate::telemetry::access::AccessLog;
use crate::telemetry::log::{self, LogFault};
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
    /// What the configuration says of TLS cannot be offered.
    #[error("cannot offer TLS: {0}")]
    Tls(#[from] rustls::Error),
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
    gateways: Arc<Gateways>,
    /// What is done once a day; it ends with the server.
    _daily: JoinSet<Infallible>,
}

/// The metrics of a process whose first configuration is this one.
///
/// # Errors
///
/// A defect of ours.
pub fn metrics(config: &Config) -> Result<Metrics, MetricFault> {
    let listeners: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    Metrics::new(&listeners.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The process's telemetry: metrics, access lines on standard output, everything else on standard error.
///
/// # Errors
///
/// The process has a log already, or a thread cannot be started.
pub fn telemetry(config: &Config) -> Result<Telemetry, ServeFault> {
    let metrics = metrics(config)?;
    let log = log::start(log_format(config), log_level(config), metrics.log_lines_dropped())?;
    let access = AccessLog::start(io::stdout(), metrics.access_lines_dropped())?;
    Ok(Telemetry { metrics, access: Some(access), log: Some(log) })
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
        let settings = Settings {
            listen: config.server.listen.clone(),
            admin: config.admin.listen,
            workers: config.server.workers,
            terms: terms(&config.server, pace, &Entrance::default())?,
        };
        let telemetry = Arc::new(telemetry);
        // A quarter of what the process may have: the rest is for requests.
        let proven = memory::limit(&memory::groups()).map_or(PROVEN_BYTES, |limit| PROVEN_BYTES.min(limit / 4));
        let otlp = config.traces.otlp.as_ref();
        let shared = Arc::new(Shared::new(Arc::clone(&telemetry), clock, pace, proven, otlp, control)?);
        let gateways = Arc::new(Gateways::start(config, shared));
        let (for_metrics, for_readiness) = (Arc::clone(&telemetry), Arc::clone(&gateways));
        let admin = Admin::new(move || for_metrics.metrics.render(), move || components(&for_readiness.in_force()));
        let for_workers = Arc::clone(&gateways);
        let running = start(&settings, control, &telemetry, admin, move |worker| {
            let gateways = Arc::clone(&for_workers);
            move |request, peer| gateways.of(worker).handle(request, peer)
        })?;
        let mut daily = JoinSet::new();
        daily.spawn_on(expiry::tell_daily(Arc::clone(&gateways)), control);
        let served = Self { running, gateways, _daily: daily };
        served.tell_certificates();
        Ok(served)
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
        self.gateways.shared()
    }

    /// The configuration in force.
    pub fn in_force(&self) -> Arc<InForce> {
        self.gateways.in_force()
    }

    /// Takes a configuration into force: what begins after this returns is under it. Returns the names of those options that
    /// have another value in it and cannot be changed while the server runs; they keep the value they have.
    ///
    /// # Errors
    ///
    /// What the configuration says of TLS cannot be offered; all stays as it was.
    pub fn adopt(&self, mut config: Config) -> Result<Vec<&'static str>, rustls::Error> {
        let kept = keep_what_cannot_change(&mut config, self.in_force().config());
        let terms = terms(&config.server, self.shared().pace(), &self.running.terms().entrance)?;
        self.running.adopt(terms);
        self.gateways.adopt(config);
        self.tell_certificates();
        Ok(kept)
    }

    /// Tells the operator until when the certificates in force are valid.
    fn tell_certificates(&self) {
        let (in_force, shared) = (self.in_force(), self.shared());
        let expiry = |certificate: &Certificate| certificate.pair.facts().not_after;
        let certificates = in_force.config().certificates();
        let expiries = certificates.map(|certificate| (certificate.file.as_str(), expiry(certificate)));
        shared.telemetry().metrics.certificates_in_force(expiries);
        expiry::tell(in_force.config(), shared.clock().wall());
    }

    /// Looks from now on, on `control`, whether the memory of these control groups is nearly used up.
    pub fn watch_memory(&self, groups: Vec<PathBuf>, control: &Handle) {
        control.spawn(memory::watch(groups, Arc::clone(self.gateways.shared())));
    }

    /// Serves, and reloads what changes, until a signal says to stop; then drains. A second signal ends that at once.
    ///
    /// Returns whether every request ended by itself.
    pub async fn until_signalled(&self, signals: &mut Signals, hangups: &mut Hangups, reloads: &mut Reloads) -> bool {
        tokio::select! {
            gently = self.until_stopped(signals) => gently,
            never = reloads.run(self, hangups) => match never {},
        }
    }

    async fn until_stopped(&self, signals: &mut Signals) -> bool {
        signals.stop().await;
        let times = self.gateways.in_force().config().server.drain;
        let drain = Drain { delay: times.delay, timeout: times.timeout };
        tracing::info!(delay = ?drain.delay, timeout = ?drain.timeout, "draining");
        let gently = tokio::select! {
            gently = self.drain(drain) => gently,
            () = signals.stop() => false,
        };
        tracing::info!(gently, "stopped");
        gently
    }

    /// Stops gently: see [`Running::drain`]. Renewals of sessions, which may have no client any more, are waited for too: what
    /// an issuer grants once must be stored.
    pub async fn drain(&self, drain: Drain) -> bool {
        let gently = self.running.drain(drain).await;
        let renewed = tokio::time::timeout(drain.timeout, self.shared().renewals().idle()).await;
        gently && renewed.is_ok()
    }

    /// Stops at once, and waits for the workers' threads, for the store they used, and for the lines and spans of what they
    /// served: not for use in a task.
    pub fn stop(self) {
        self.running.stop();
        let shared = self.gateways.shared();
        shared.close_store();
        shared.telemetry().flush();
        if let Some(spans) = shared.spans() {
            spans.flush(LAST_SPANS);
        }
    }
}

/// How long the end of the process waits for the collector to take the last spans.
const LAST_SPANS: Duration = Duration::from_secs(2);

fn keep_what_cannot_change(config: &mut Config, before: &Config) -> Vec<&'static str> {
    let mut kept = Vec::new();
    let (server, was) = (&mut config.server, &before.server);
    if server.listen != was.listen {
        server.listen.clone_from(&was.listen);
        kept.push("server.listen");
    }
    if server.workers != was.workers {
        server.workers = was.workers;
        kept.push("server.workers");
    }
    if config.admin.listen != before.admin.listen {
        config.admin.listen = before.admin.listen;
        kept.push("admin.listen");
    }
    if config.traces.otlp != before.traces.otlp {
        config.traces.otlp.clone_from(&before.traces.otlp);
        kept.push("telemetry.otlp");
    }
    kept
}

/// What connections are held to, after the entrance `before`.
fn terms(server: &Server, pace: Pace, before: &Entrance) -> Result<Terms, rustls::Error> {
    let limits = server.limits;
    Ok(Terms {
        connections: limits.connections,
        bounds: Bounds {
            head_bytes: limits.head_bytes,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            answers: pace,
            moment: Bounds::MOMENT,
        },
        entrance: Entrance::new(server, before)?,
    })
}

/// What `/readyz` tells beside the server's own state. An outage after keys were seen once does not count.
fn components(in_force: &InForce) -> Vec<Component> {
    let issuers = in_force.readiness().into_iter().map(|issuer| {
        let unready = issuer.required && !issuer.seen;
        let why = unready.then_some("its keys have not been seen yet");
        let keys = issuer.keys.map(|standing| Keys {
            from: match standing.from {
                Provenance::Issuer => "issuer",
                Provenance::File => "file",
                Provenance::Snapshot => "snapshot",
            },
            age_seconds: standing.age.as_secs(),
            usable: standing.keys,
        });
        Component { keys, ..Component::new(format!("issuer {}", issuer.name), why) }
    });
    std::iter::once(Component::new("configuration", None)).chain(issuers).collect()
}
