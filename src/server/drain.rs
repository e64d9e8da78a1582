//! The phases of a server's life, and the signals that end it.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Where a server is in its life. It only goes on, never back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It serves and says that it is not ready, so that nobody new is sent here.
    Draining,
    /// It accepts no more connections and finishes what is in flight.
    Closing,
    /// It is over.
    Stopped,
}

/// How to stop gently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long new connections are still taken after we say that we are not ready.
    pub delay: Duration,
    /// How long requests in flight may take after that.
    pub timeout: Duration,
}

/// Tells the phase to everyone.
#[derive(Debug)]
pub(super) struct Phases(watch::Sender<Phase>);

/// Hears the phase.
#[derive(Debug, Clone)]
pub(super) struct PhaseWatch(watch::Receiver<Phase>);

impl Phases {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }

    pub(super) fn watch(&self) -> PhaseWatch {
        PhaseWatch(self.0.subscribe())
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
    }
}

impl PhaseWatch {
    pub(super) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Returns when that phase, or a later one, has begun. A server that is gone has stopped.
    pub(super) async fn reached(&mut self, phase: Phase) {
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }
}

/// The signals of an operator or an orchestrator: SIGTERM, SIGINT from a terminal, and SIGHUP.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on; must run within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// The system's, where a signal cannot be listened to.
    pub fn listen() -> io::Result<Self> {
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hangup: hangup? })
    }

    /// Returns at the next SIGTERM or SIGINT. SIGHUP, which supervisors send for a reload, ends nothing; the log says so.
    pub async fn stop(&mut self) {
        loop {
            tokio::select! {
                // In the order in which an operator sends them.
                biased;
                _ = self.hangup.recv() => {
                    let help = "restart to take a changed file into force";
                    tracing::warn!(help, "SIGHUP is ignored: nothing is reloaded");
                }
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
        }
    }

    /// Returns at the next of them, SIGHUP of a closed terminal included.
    pub async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
