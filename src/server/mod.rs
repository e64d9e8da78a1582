//! Sockets, workers, reload, drain and the admin listener.
//!
//! [`start`] binds every address, starts the workers, and returns once connections are accepted. Requests go to a
//! handler that each worker makes for itself, on its own runtime; the server knows nothing of what a handler decides.
//! It promises that a handler that panics costs one request (500), and that no client holds a connection beyond its limits,
//! neither by sending nothing nor by reading nothing.

pub mod admin;
mod answering;
pub mod assembly;
mod beat;
mod certificates;
pub mod connection;
mod deadlines;
pub mod drain;
pub mod entrance;
mod expiry;
mod http1;
mod http2;
pub mod listener;
pub mod memory;
pub mod problems;
mod proxy;
pub mod reload;
pub mod room;
mod stream;
mod tls;
mod wire;
mod workers;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::runtime::Handle;

use self::admin::Admin;
use self::connection::Site;
use self::drain::{Drain, Phase, Phases};
use self::room::{Room, Terms};
use self::workers::Workers;
use crate::gateway::{Body, Peer};
use crate::telemetry::Telemetry;

/// What the server is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses for clients; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The address for metrics and probes.
    pub admin: SocketAddr,
    /// How many workers, at least one; each has one thread, one runtime, and a socket per address.
    pub workers: usize,
    /// What connections of clients are held to, until [`Running::adopt`] says otherwise.
    pub terms: Terms,
}

/// Why the server could not start.
#[derive(Debug, Error)]
pub enum StartFault {
    /// An address could not be had.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A thread or its runtime could not be made.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

/// A server that accepts connections. Dropped, it stops at once.
pub struct Running {
    addresses: Vec<SocketAddr>,
    admin_address: SocketAddr,
    phases: Phases,
    room: Room,
    admin_room: Room,
    workers: Workers,
    admin: tokio::task::AbortHandle,
}

/// Starts a server. `make_handler` is called once on each worker's own thread, within its runtime, with the worker's number.
/// The admin listener runs on `control`; connections are counted in `telemetry`, listeners by their place in `listen`.
///
/// # Errors
///
/// An address that is taken, also by another process of ours, or a thread that cannot be made. Nothing is left running.
pub fn start<M, H, F>(
    settings: &Settings,
    control: &Handle,
    telemetry: &Arc<Telemetry>,
    admin: Admin,
    make_handler: M,
) -> Result<Running, StartFault>
where
    M: Fn(usize) -> H + Send + Sync + 'static,
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let sockets = listener::bind_all(&settings.listen, settings.workers)?;
    let admin_socket = listener::bind(settings.admin)?;
    let refused = |error| StartFault::Listen { address: settings.admin, error };
    let admin_address = admin_socket.local_addr().map_err(refused)?;
    let phases = Phases::new();
    let admin_room = Room::new(Admin::terms(settings.terms.bounds));
    let room = Room::new(settings.terms.clone());
    let site = Site { listener: 0, phase: phases.watch(), room: room.clone(), telemetry: Some(Arc::clone(telemetry)) };
    let workers = Workers::start(sockets.sockets, &site, make_handler).map_err(StartFault::Worker)?;
    let admin_listener = {
        let _entered = control.enter();
        tokio::net::TcpListener::from_std(admin_socket).map_err(refused)?
    };
    let admin = control.spawn(admin.serve(admin_listener, phases.watch(), admin_room.clone())).abort_handle();
    Ok(Running { addresses: sockets.addresses, admin_address, phases, room, admin_room, workers, admin })
}

impl Running {
    /// The addresses for clients, in the order of the configuration, with the ports that were taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address for metrics and probes.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// What new connections are held to.
    pub fn terms(&self) -> Arc<Terms> {
        self.room.terms()
    }

    /// Holds new connections to other terms from now on.
    pub fn adopt(&self, terms: Terms) {
        self.admin_room.adopt(Admin::terms(terms.bounds));
        self.room.adopt(terms);
    }

    /// Stops gently: unready at once, new connections for `delay`, then no more of them while what is in flight ends
    /// within `timeout`. Connections are told to close with their next answer from the beginning.
    ///
    /// Returns whether every connection ended by itself. Dropping the future leaves the phase as it stands; see
    /// [`Running::stop`] for an end at once.
    pub async fn drain(&self, drain: Drain) -> bool {
        self.phases.enter(Phase::Draining);
        tokio::time::sleep(drain.delay).await;
        self.phases.enter(Phase::Closing);
        // An idle connection ends after its moment: a drain without patience ends well where all are idle.
        let last_look = self.room.terms().bounds.moment * 3 / 2;
        let timeout = drain.timeout.max(last_look);
        tokio::time::timeout(timeout, self.room.empty()).await.is_ok()
    }

    /// Stops at once: every connection is closed. Blocks until every worker's thread has ended.
    pub fn stop(mut self) {
        self.phases.enter(Phase::Stopped);
        self.workers.join();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.phases.enter(Phase::Stopped);
        self.admin.abort();
    }
}
