//! The gateways of all workers, exchanged together when a configuration is taken into force.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::Gateway;
use super::in_force::InForce;
use super::shared::Shared;
use crate::config::Config;

/// One gateway for each worker, all of one configuration.
///
/// Each is a value of its own, so that the requests of two workers count their references in different places.
pub struct Gateways {
    shared: Arc<Shared>,
    in_force: ArcSwap<InForce>,
    workers: Box<[ArcSwap<Gateway>]>,
    exchange: Mutex<()>,
}

impl Gateways {
    /// Takes a first configuration into force, for so many workers as it says.
    pub fn start(config: Config, shared: Arc<Shared>) -> Self {
        let workers = config.server.workers;
        let in_force = Arc::new(InForce::new(config, &shared, None));
        let gateway = |_| ArcSwap::from_pointee(Gateway::new(&shared, &in_force, None));
        Self {
            workers: (0..workers).map(gateway).collect(),
            in_force: ArcSwap::new(in_force),
            shared,
            exchange: Mutex::default(),
        }
    }

    /// Takes a configuration into force: every request that begins after this returns is decided under it, and each that has
    /// begun ends under the one it began with.
    pub fn adopt(&self, config: Config) {
        // Two at once would leave some workers with the one and some with the other.
        let _exchanging = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = Arc::new(InForce::new(config, &self.shared, Some(&self.in_force.load())));
        for worker in &self.workers {
            let gateway = Gateway::new(&self.shared, &in_force, Some(&worker.load()));
            worker.store(Arc::new(gateway));
        }
        self.in_force.store(in_force);
    }

    /// The gateway of a worker, for one request. There are as many workers as the first configuration said.
    pub fn of(&self, worker: usize) -> Arc<Gateway> {
        self.workers[worker].load_full()
    }

    /// The configuration in force.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// What outlives configurations.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
