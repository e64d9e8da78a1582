//! How an upstream is spoken to within TLS: who it must prove to be, and who we say that we are.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::authorities::Authorities;
use super::model::Certificate;

/// TLS towards one upstream. Two are equal where they expect the same name, trust the same, and show the same.
#[derive(Clone)]
pub struct UpstreamTls {
    name: ServerName<'static>,
    trust: Trust,
    certificate: Option<Certificate>,
    client: Arc<ClientConfig>,
}

/// Who may vouch for an upstream.
#[derive(Clone)]
pub enum Trust {
    /// Whom the system trusts.
    System(Arc<RootCertStore>),
    /// These alone.
    Authorities(Authorities),
}

impl UpstreamTls {
    /// TLS to who proves to be `name` to whom we trust, showing the certificate where the upstream asks for one. HTTP/2 is
    /// asked for before HTTP/1.1 (RFC 7301).
    ///
    /// # Errors
    ///
    /// What rustls says, for the operator.
    pub(super) fn new(
        name: ServerName<'static>,
        trust: Trust,
        certificate: Option<Certificate>,
    ) -> Result<Self, rustls::Error> {
        let roots = match &trust {
            Trust::System(roots) => Arc::clone(roots),
            Trust::Authorities(authorities) => Arc::new(authorities.roots()),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots);
        let mut client = match &certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let shown = SingleCertAndKey::from(Arc::clone(certificate.pair.key()));
                builder.with_client_cert_resolver(Arc::new(shown) as Arc<dyn ResolvesClientCert>)
            }
        };
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { name, trust, certificate, client: Arc::new(client) })
    }

    /// Who the upstream must prove to be; a name is also told to it (SNI, RFC 6066 section 3).
    pub fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Who may vouch for it.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// What we show of ourselves.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// All of it, as rustls takes it.
    pub fn client(&self) -> &Arc<ClientConfig> {
        &self.client
    }
}

impl Trust {
    /// The file of the authorities; none: the system's.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::System(_) => None,
            Self::Authorities(authorities) => Some(authorities.path()),
        }
    }
}

/// The authorities that the system trusts.
///
/// # Errors
///
/// Why there are none, for the end of a sentence.
pub(super) fn system_roots() -> Result<Arc<RootCertStore>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems hold a few that rustls does not take; the others are as good as before.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(found.errors.first().map(|error| format!(": {error}")).unwrap_or_default());
    }
    Ok(Arc::new(roots))
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        let pair = |tls: &Self| tls.certificate.as_ref().map(|certificate| certificate.pair.clone());
        self.name == other.name && self.trust == other.trust && pair(self) == pair(other)
    }
}

impl Eq for UpstreamTls {}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::System(one), Self::System(other)) => one.roots == other.roots,
            (Self::Authorities(one), Self::Authorities(other)) => one.certificates() == other.certificates(),
            (Self::System(_), Self::Authorities(_)) | (Self::Authorities(_), Self::System(_)) => false,
        }
    }
}

impl Eq for Trust {}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("name", &self.name).finish_non_exhaustive()
    }
}
