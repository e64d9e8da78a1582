//! Tells in time that a certificate expires: in the log, when it is taken into force and once a day from then on.
//!
//! The metrics tell each moment of expiry, and an alert on them is better; but who reads only the log hears it too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::{Config, moment};
use crate::gateway::Gateways;

/// How long before its end a certificate is told of. Short-lived ones are renewed within less.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How often.
const DAILY: Duration = Duration::from_secs(24 * 60 * 60);

/// Tells of each certificate that has expired, or will soon.
pub(super) fn tell(config: &Config, now: SystemTime) {
    for certificate in config.certificates() {
        let (file, not_after) = (&certificate.file, certificate.pair.facts().not_after);
        if not_after < now {
            let help = "renew it: whoever verifies it refuses it";
            tracing::error!(certificate = file, expired = moment(not_after), help, "a certificate has expired");
        } else if not_after < now + SOON {
            let help = "renew it; a changed file is taken into force by itself";
            tracing::warn!(certificate = file, expires = moment(not_after), help, "a certificate expires soon");
        }
    }
}

/// Tells it once a day, from now on, of the configuration that is then in force.
pub(super) fn tell_daily(gateways: Arc<Gateways>) -> impl Future<Output = Infallible> {
    let clock = gateways.shared().clock().clone();
    let mut next = clock.now().after(DAILY);
    async move {
        loop {
            clock.sleep_until(next).await;
            next = clock.now().after(DAILY);
            tell(gateways.in_force().config(), clock.wall());
        }
    }
}
