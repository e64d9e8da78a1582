//! TCP keep-alive, towards clients and upstreams alike: how a peer that is gone without a word is noticed.

use std::time::Duration;

use socket2::TcpKeepalive;

/// Asked after 30 s without a byte, and then every 10 s, a peer that does not answer three times is gone: within a minute,
/// whatever is waited for. No other limit ends an answer that may be silent for hours.
pub fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(3)
}
