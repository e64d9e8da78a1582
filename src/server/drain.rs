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

/// The signals that end the process: SIGTERM of an orchestrator, SIGINT of a terminal.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// SIGHUP, which supervisors send for a reload.
pub struct Hangups(Signal);

impl Signals {
    /// Listens from now on; must run within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// The system's, where a signal cannot be listened to.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns at the next of them.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Hangups {
    /// Listens from now on; must run within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// The system's, where a signal cannot be listened to.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        // There is always a next one: the stream ends only with the runtime.
        let _ = self.0.recv().await;
    }
}
