//! The upstream: answers `/.../N` with `N` after N milliseconds, of which `/.../body/N` waits between head and body.

use std::net::SocketAddr;
use std::time::Duration;

use crate::heads::{self, Answer};

/// Starts one; it lasts as long as the process.
pub async fn start() -> SocketAddr {
    heads::start(|head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let mut words = path.rsplit('/');
        let body = words.next().unwrap_or_default().to_owned();
        let delay = Duration::from_millis(body.parse().unwrap_or(0));
        let (before, between) =
            if words.next() == Some("body") { (Duration::ZERO, delay) } else { (delay, Duration::ZERO) };
        Answer { body, before, between }
    })
    .await
}
