//! How an upstream is spoken to within TLS: who it must prove to be, and who we say that we are.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

/// TLS towards one upstream. Two are equal where they trust the same, show the same and expect the same name.
#[derive(Clone)]
pub struct UpstreamTls {
    name: ServerName<'static>,
    client: Arc<ClientConfig>,
}

impl UpstreamTls {
    /// TLS to who proves to be `name`, by an authority of `roots`. HTTP/2 is asked for before HTTP/1.1 (RFC 7301).
    ///
    /// # Errors
    ///
    /// What rustls says, for the operator.
    pub(super) fn new(name: ServerName<'static>, roots: Arc<RootCertStore>) -> Result<Self, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let mut client =
            builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { name, client: Arc::new(client) })
    }

    /// Who the upstream must prove to be; a name is also told to it (SNI, RFC 6066 section 3).
    pub fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// All of it, as rustls takes it.
    pub fn client(&self) -> &Arc<ClientConfig> {
        &self.client
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
        self.name == other.name
    }
}

impl Eq for UpstreamTls {}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("name", &self.name).finish_non_exhaustive()
    }
}
