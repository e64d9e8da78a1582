//! Which certificate a client is shown.
//!
//! 1. Of those for the host that it names (SNI, RFC 6066 section 3), exact names before wildcards.
//! 2. Else of all, the first before the others; so too where it names none.
//! 3. Of these the first whose key can sign what the client verifies: one host may have one of ECDSA and one of RSA.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::Certificate;

/// The certificates of a server, by host.
#[derive(Debug)]
pub(super) struct Certificates {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what stands behind `*.`, which is for one label.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    all: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    pub(super) fn new(certificates: &[Certificate]) -> Self {
        let all = certificates.iter().map(|certificate| Arc::clone(certificate.pair.key())).collect();
        let mut known = Self { exact: HashMap::new(), wildcard: HashMap::new(), all };
        for certificate in certificates {
            for host in &certificate.pair.facts().hosts {
                let (hosts, name) = match host.strip_prefix("*.") {
                    Some(parent) => (&mut known.wildcard, parent),
                    None => (&mut known.exact, host.as_str()),
                };
                hosts.entry(name.to_owned()).or_default().push(Arc::clone(certificate.pair.key()));
            }
        }
        known
    }

    /// Those for a host, and then all, in the order in which they are looked at.
    fn candidates(&self, host: Option<&str>) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let exact = host.and_then(|host| self.exact.get(host));
        let parent = host.and_then(|host| host.split_once('.')).map(|(_, parent)| parent);
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        exact.into_iter().chain(wildcard).flatten().chain(&self.all)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let mut candidates = self.candidates(hello.server_name());
        candidates.find(|candidate| candidate.key.choose_scheme(schemes).is_some()).cloned()
    }
}
