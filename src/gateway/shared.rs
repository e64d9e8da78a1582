//! What all workers of a gateway share for the life of the process, whichever configuration is in force.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use url::Url;

use super::random::random;
use super::refresh::Renewals;
use super::request_body::Pace;
use super::verified::Verified;
use crate::config;
use crate::policy::seal::KeyRing;
use crate::policy::trace::Recorded;
use crate::remote::clock::{Clock, Monotonic};
use crate::remote::http::Client;
use crate::remote::jwks::{Event, Fetching};
use crate::remote::store::{self, Kind, Name, Store, StoreFault};
use crate::telemetry::Telemetry;
use crate::telemetry::labels::FetchResult;
use crate::telemetry::log::Refusals;
use crate::telemetry::spans::{CallSpan, Spans};

/// How many bytes proven tokens may take at the most, with what they say.
pub const PROVEN_BYTES: u64 = 64 * 1024 * 1024;

/// The parts that all workers share cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot make outgoing calls: {0}")]
pub struct SharedFault(String);

/// What all workers of a gateway share.
pub struct Shared {
    fetching: Fetching,
    verified: Verified,
    renewals: Arc<Renewals>,
    /// The store in use, and what it was opened by.
    store: Mutex<Option<(config::Store, Arc<dyn Store>)>>,
    own_key: [u8; KeyRing::KEY],
    telemetry: Arc<Telemetry>,
    refusals: Refusals,
    /// Where spans go; nothing where no collector is configured.
    spans: Option<Spans>,
    started: Monotonic,
    pace: Pace,
    memory_short: AtomicBool,
}

impl Shared {
    /// What is not a request (fetching keys, sending spans to the collector at `otlp`) will run on the runtime of `control`;
    /// proven tokens take `proven_bytes` at the most.
    ///
    /// # Errors
    ///
    /// Where no outgoing call is possible at all.
    pub fn new(
        telemetry: Arc<Telemetry>,
        clock: Clock,
        pace: Pace,
        proven_bytes: u64,
        otlp: Option<&Url>,
        control: &Handle,
    ) -> Result<Self, SharedFault> {
        let client = Client::new(clock.clone()).map_err(SharedFault)?;
        let spans = otlp.and_then(|base| collecting(base, &client, &clock, control, &telemetry));
        let (told, traced) = (Arc::clone(&telemetry), spans.clone());
        let observer = move |event: Event| match event {
            Event::Fetched(fetch) => {
                told.metrics.jwks_fetched(&fetch.issuer, fetch.trigger, fetch.result, fetch.keys);
                if fetch.result == FetchResult::Success {
                    told.metrics.jwks_replaced(&fetch.issuer, fetch.at);
                }
                if let Some(spans) = &traced {
                    spans.keys_fetched(&fetch.issuer, fetch.trigger, fetch.result, fetch.at, fetch.took, random());
                }
            }
            Event::Restored { issuer, keys, fetched } => {
                told.metrics.jwks_held(&issuer, keys);
                told.metrics.jwks_replaced(&issuer, fetched);
            }
        };
        let started = clock.now();
        let mut own_key = [0; KeyRing::KEY];
        aws_lc_rs::rand::fill(&mut own_key).map_err(|_| SharedFault("no random bytes".to_owned()))?;
        Ok(Self {
            store: Mutex::default(),
            own_key,
            fetching: Fetching { handle: control.clone(), clock, client, observer: Arc::new(observer) },
            verified: Verified::within(proven_bytes),
            renewals: Arc::default(),
            telemetry,
            refusals: Refusals::default(),
            spans,
            started,
            pace,
            memory_short: AtomicBool::new(false),
        })
    }

    /// What key sets are fetched by.
    pub(super) fn fetching(&self) -> &Fetching {
        &self.fetching
    }

    /// The tokens whose signatures were verified.
    pub(super) fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The renewals of sessions that are under way.
    pub fn renewals(&self) -> &Arc<Renewals> {
        &self.renewals
    }

    /// Where sessions are kept: the same store for as long as configurations say the same of it.
    pub(super) fn store(&self, configured: &config::Store) -> Arc<dyn Store> {
        // What it guards is whole after every step.
        let mut kept = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((known, store)) if known == configured => Arc::clone(store),
            Some(_) | None => {
                let store = store::open(configured, &self.fetching.clock, &self.fetching.handle);
                drop(self.fetching.handle.spawn(tell_if_away(Arc::clone(&store))));
                *kept = Some((configured.clone(), Arc::clone(&store)));
                store
            }
        }
    }

    /// Closes the store in use, for the end of the process: see [`Store::close`].
    pub fn close_store(&self) {
        let kept = self.store.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((_, store)) = kept {
            store.close();
        }
    }

    /// What seals sessions where no key is configured.
    pub(super) fn own_key(&self) -> &[u8; KeyRing::KEY] {
        &self.own_key
    }

    /// What the process tells of itself.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.fetching.clock
    }

    /// Where the operator is told of refusals.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Where spans go, if anywhere.
    pub fn spans(&self) -> Option<&Spans> {
        self.spans.as_ref()
    }

    /// The span to be of a call of an issuer that the request of these ids may need; none where it is not recorded.
    pub(super) fn call_span(&self, request: Option<Recorded>) -> Option<CallSpan> {
        Some(self.spans.as_ref()?.call(request?, random()))
    }

    /// The monotonic time since this was started.
    pub(super) fn since_start(&self) -> Duration {
        self.clock().now().since(self.started)
    }

    /// How slow a client may be, with a request's body and with an answer.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Says that memory is short, so that few requests are taken at a time and what can be had again is dropped; or that
    /// it is no longer.
    pub fn memory_is_short(&self, short: bool) {
        self.memory_short.store(short, Ordering::Relaxed);
        if short {
            self.verified.forget();
        }
    }

    /// Whether memory is short.
    pub(super) fn is_memory_short(&self) -> bool {
        self.memory_short.load(Ordering::Relaxed)
    }
}

/// Tells the operator at once of a store that cannot be asked: else the first user would.
async fn tell_if_away(store: Arc<dyn Store>) {
    let nobody = Name { kind: Kind::Session, hash: [0; 32] };
    if let Err(StoreFault { why, help }) = store.read(nobody).await {
        tracing::warn!(why, help, "the store does not answer: sessions are refused until it does");
    }
}

/// Begins to send spans to the collector at `base`.
#[cfg(feature = "otlp")]
fn collecting(base: &Url, client: &Client, clock: &Clock, control: &Handle, telemetry: &Telemetry) -> Option<Spans> {
    use crate::remote::collector;
    Some(collector::start(base, client.clone(), clock.clone(), control, telemetry.metrics.spans_dropped()))
}

/// Nothing: the configuration refuses a collector where the build has no client for it.
#[cfg(not(feature = "otlp"))]
fn collecting(_: &Url, _: &Client, _: &Clock, _: &Handle, _: &Telemetry) -> Option<Spans> {
    None
}
