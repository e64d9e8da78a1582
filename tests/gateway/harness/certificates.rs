//! Certificates made for a test, in files as an operator has them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    SignatureAlgorithm,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// An authority, and the directory in which it and what it issues stand.
pub struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its private key.
pub struct Issued {
    certificate_file: PathBuf,
    key_file: PathBuf,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pem: [String; 2],
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // One whose subject is its issuer would be taken for self-signed, were it the authority's or not.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { directory: tempfile::tempdir().unwrap(), issuer };
        fs::write(authority.file(), authority.issuer.pem()).unwrap();
        authority
    }

    /// The file of its own certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// What a TLS client trusts that trusts this authority alone.
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A certificate of ECDSA for these hosts, in the files `NAME.crt` and `NAME.key`.
    pub fn issue(&self, name: &str, hosts: &[&str]) -> Issued {
        self.issue_with(name, hosts, &PKCS_ECDSA_P256_SHA256, |_| {})
    }

    /// The same with a key of another algorithm, and whatever else is to be different.
    pub fn issue_with(
        &self,
        name: &str,
        hosts: &[&str],
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let issued = Issued {
            certificate_file: self.directory.path().join(format!("{name}.crt")),
            key_file: self.directory.path().join(format!("{name}.key")),
            certificate: certificate.der().clone(),
            pem: [certificate.pem(), key.serialize_pem()],
            key: key.into(),
        };
        issued.write_as(&issued);
        issued
    }
}

impl Issued {
    /// Both files as the configuration names them.
    pub fn toml(&self) -> String {
        let (certificate, key) = (self.certificate_file.display(), self.key_file.display());
        format!("{{ certificate = \"{certificate}\", private_key = \"{key}\" }}")
    }

    /// The certificate's file.
    pub fn file(&self) -> &Path {
        &self.certificate_file
    }

    /// The private key's file.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// Writes this pair into the files of another.
    pub fn write_as(&self, other: &Self) {
        self.write_certificate_as(other);
        self.write_key_as(other);
    }

    /// Writes the certificate alone.
    pub fn write_certificate_as(&self, other: &Self) {
        fs::write(&other.certificate_file, &self.pem[0]).unwrap();
    }

    /// Writes the key alone.
    pub fn write_key_as(&self, other: &Self) {
        // Nobody may find it with other permissions meanwhile.
        let new = other.key_file.with_extension("new");
        fs::write(&new, &self.pem[1]).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o440)).unwrap();
        fs::rename(&new, &other.key_file).unwrap();
    }

    /// The certificate in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Both in DER.
    pub fn pair(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        (self.certificate.clone(), self.key.clone_key())
    }
}
