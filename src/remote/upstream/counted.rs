//! What `bearward_upstream_connections` says of one connection.

use std::sync::{Arc, Mutex, PoisonError};

use crate::telemetry::labels::ConnectionState;
use crate::telemetry::ledger::UpstreamCounts;
use crate::telemetry::metrics::Held;

/// One connection in the metrics, from its opening to its end, whoever holds it.
pub(super) struct Counted {
    counts: Option<UpstreamCounts>,
    state: Mutex<State>,
}

enum State {
    Open(Option<Held>),
    Ended,
}

/// The connection has ended when this is dropped.
pub(super) struct End(Arc<Counted>);

impl Counted {
    pub(super) fn new(counts: Option<UpstreamCounts>) -> Self {
        Self { counts, state: Mutex::new(State::Open(None)) }
    }

    /// Says what the connection is doing; after its end nothing.
    pub(super) fn is(&self, state: ConnectionState) {
        if let State::Open(held) = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            // Counted in one state before it leaves the other, so that it is never seen to be gone.
            *held = self.counts.as_ref().map(|counts| counts.connection(state));
        }
    }
}

impl End {
    pub(super) fn of(counted: &Arc<Counted>) -> Self {
        Self(Arc::clone(counted))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Ended;
    }
}
