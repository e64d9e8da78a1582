//! Certificate authorities of the operator's own, as `tls = { ca = "..." }` names them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

/// The authorities of one PEM file: who else the system trusts does not count where they are given.
///
/// At least one, each seen to be a certificate. Clones share them.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    path: PathBuf,
    certificates: Arc<[CertificateDer<'static>]>,
}

impl Authorities {
    /// The certificates that stand in the PEM text of a file.
    ///
    /// # Errors
    ///
    /// What is wrong, for a sentence that begins with the name of the file.
    pub fn parse(path: &Path, pem: &[u8]) -> Result<Self, String> {
        use rustls::pki_types::pem::PemObject as _;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|_| "is no whole PEM".to_owned())?;
        if certificates.is_empty() {
            return Err("holds no certificate in PEM".to_owned());
        }
        let mut roots = RootCertStore::empty();
        for (index, certificate) in certificates.iter().enumerate() {
            let number = index + 1;
            roots
                .add(certificate.clone())
                .map_err(|why| format!("has as number {number} what is no certificate: {why}"))?;
        }
        Ok(Self { path: path.to_owned(), certificates: certificates.into() })
    }

    /// The file they are from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The certificates.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// What a TLS client trusts that believes these alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        // Each was taken when the file was read.
        roots.add_parsable_certificates(self.certificates.iter().cloned());
        roots
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("path", &self.path).field("count", &self.certificates.len()).finish()
    }
}
