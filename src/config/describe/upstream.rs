//! What `check` shows of an upstream.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::line;
use crate::config::model::{Address, Scheme, Upstream};
use crate::config::units::duration_text;

#[derive(Debug, Serialize)]
pub(super) struct UpstreamLine {
    name: String,
    url: String,
    speaks: &'static str,
    /// Nothing: it speaks no TLS.
    tls: Option<TlsLine>,
    timeout: String,
    connect_timeout: String,
    retries: u32,
    max_concurrent: usize,
}

/// TLS towards an upstream.
#[derive(Debug, Serialize)]
struct TlsLine {
    /// Who it must prove to be.
    name: String,
    /// Nothing: to whom the system trusts.
    authorities: Option<String>,
    /// The file of what it is shown.
    certificate: Option<String>,
}

impl UpstreamLine {
    pub(super) fn of(upstream: &Upstream) -> Self {
        Self {
            name: upstream.name.clone(),
            url: upstream.address.to_string(),
            speaks: match upstream.address {
                Address::Host { scheme: Scheme::Http, .. } | Address::Unix(_) => "HTTP/1.1",
                Address::Host { scheme: Scheme::H2c, .. } => "HTTP/2",
                Address::Host { scheme: Scheme::Https, .. } => "HTTP/2 or HTTP/1.1",
            },
            tls: upstream.tls.as_ref().map(|tls| TlsLine {
                name: tls.name().to_str().into_owned(),
                authorities: tls.trust().file().map(|file| file.display().to_string()),
                certificate: tls.certificate().map(|certificate| certificate.file.clone()),
            }),
            timeout: duration_text(upstream.timeout),
            connect_timeout: duration_text(upstream.connect_timeout),
            retries: upstream.retries,
            max_concurrent: upstream.max_concurrent,
        }
    }
}

impl fmt::Display for UpstreamLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "upstream {}", self.name)?;
        // One that a route names by its URL is called that.
        if self.url != self.name {
            line(f, "at", &self.url)?;
        }
        line(f, "speaks", self.speaks)?;
        if let Some(tls) = &self.tls {
            let authorities = tls.authorities.as_deref().unwrap_or("the system");
            line(f, "proves", &format!("to be {}, by an authority of {authorities}", tls.name))?;
            if let Some(certificate) = &tls.certificate {
                line(f, "is shown", certificate)?;
            }
        }
        line(f, "waits", &format!("{} for its answer, {} for a connection", self.timeout, self.connect_timeout))?;
        let repeats = if self.retries == 0 { "nothing" } else { "a GET whose kept connection died before any answer" };
        line(f, "repeats", repeats)?;
        line(f, "at once", &format!("{} requests", self.max_concurrent))?;
        f.write_char('\n')
    }
}
