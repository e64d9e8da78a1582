//! How TCP notices a peer that is gone without a word, towards clients and upstreams alike: a machine that lost its power, a
//! network that was unplugged. No other limit ends an answer that may be silent for hours.
//!
//! Each case has its own means in the kernel, and both are to be set: keep-alive asks a peer that has nothing to acknowledge,
//! and the user timeout (RFC 5482) ends a connection on which something stays unacknowledged.

use std::time::Duration;

use socket2::TcpKeepalive;

/// How long a peer may leave unacknowledged what it was sent, or its window closed to what waits for it: as long as one may
/// be silent that has nothing to acknowledge.
pub const GONE: Duration = Duration::from_secs(60);

/// Asked after 30 s without a byte, and then every 10 s, a peer that does not answer three times is gone: within a minute.
pub fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(3)
}
