//! A certificate that one end of a TLS connection shows, and the private key that proves it.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::facts::Facts;

/// A certificate, those between it and an authority, and its private key.
///
/// The key is seen to be that of the certificate. Two are equal where every byte of them is. Clones share it.
#[derive(Clone)]
pub struct Certified(Arc<Parts>);

struct Parts {
    key: PrivateKeyDer<'static>,
    certified: Arc<CertifiedKey>,
    facts: Facts,
}

/// What is wrong with the two files: each text is for a sentence that begins with the name of that file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertifiedFault {
    /// The certificate's file.
    Certificate(String),
    /// The private key's file.
    Key(String),
    /// Each is good, but they do not belong together.
    Mismatch,
}

impl Certified {
    /// The certificate that comes first in the PEM text of one file, the further ones as its chain, and the private key of
    /// the other's.
    ///
    /// # Errors
    ///
    /// See [`CertifiedFault`].
    pub fn parse(certificate: &[u8], private_key: &[u8]) -> Result<Self, CertifiedFault> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|why| CertifiedFault::Certificate(format!("is not PEM: {why}")))?;
        if chain.is_empty() {
            return Err(CertifiedFault::Certificate("holds no certificate in PEM".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(private_key).map_err(|why| {
            let absent = matches!(why, pem::Error::NoItemsFound);
            CertifiedFault::Key(if absent { no_key(private_key).to_owned() } else { format!("is not PEM: {why}") })
        })?;
        let signing = default_provider().key_provider.load_private_key(key.clone_key());
        let signing = signing.map_err(|why| CertifiedFault::Key(format!("holds a key that cannot be used: {why}")))?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => return Err(CertifiedFault::Mismatch),
            Err(why) => return Err(CertifiedFault::Certificate(format!("holds no certificate: {why}"))),
        }
        let own = certified.end_entity_cert().map_err(|why| why.to_string());
        let facts = own.and_then(|own| Facts::of(own)).map_err(|why| {
            CertifiedFault::Certificate(format!("holds a certificate that cannot be understood: {why}"))
        })?;
        Ok(Self(Arc::new(Parts { key, certified: Arc::new(certified), facts })))
    }

    /// The certificate and its chain, the certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.certified.cert
    }

    /// What the certificate says of itself.
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// Both, as rustls takes them.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.0.certified
    }
}

/// What a file holds in which there is no key that can be read.
fn no_key(text: &[u8]) -> &'static str {
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    if text.windows(encrypted.len()).any(|window| window == encrypted) {
        "holds an encrypted key, for which there is no password here"
    } else {
        "holds no private key in PEM"
    }
}

impl PartialEq for Certified {
    fn eq(&self, other: &Self) -> bool {
        self.chain() == other.chain() && self.0.key == other.0.key
    }
}

impl Eq for Certified {}

impl fmt::Debug for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certified")
            .field("chain", &self.chain().len())
            .field("facts", self.facts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_belongs_together_is_taken_and_compared_byte_by_byte() {
        let ((certificate, key), (other_certificate, other_key)) = (made(), made());
        let parse = |certificate: &str, key: &str| Certified::parse(certificate.as_bytes(), key.as_bytes());
        let one = parse(&certificate, &key).unwrap();
        assert_eq!(one, parse(&certificate, &key).unwrap());
        assert_ne!(one, parse(&other_certificate, &other_key).unwrap());
        let chained = parse(&(certificate.clone() + &other_certificate), &key).unwrap();
        assert_eq!(chained.chain().len(), 2);
        assert_ne!(one, chained);
        // One file may hold both.
        let both = certificate.clone() + &key;
        assert_eq!(one, parse(&both, &both).unwrap());
        assert_eq!(parse(&certificate, &other_key), Err(CertifiedFault::Mismatch));
        assert!(!format!("{one:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_wrong_is_told_of_the_right_file() {
        let (certificate, key) = made();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (one, two, of_key, begins) in [
            ("", &*key, false, "holds no certificate in PEM"),
            (&*key, &*key, false, "holds no certificate in PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", &*key, false, "is not PEM: "),
            (broken, &*key, false, "holds no certificate: "),
            (&*certificate, "", true, "holds no private key in PEM"),
            (&*certificate, &*certificate, true, "holds no private key in PEM"),
            (&*certificate, encrypted, true, "holds an encrypted key, for which there is no password here"),
            (&*certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n", true, "is not PEM: "),
            (&*certificate, broken_key, true, "holds a key that cannot be used: "),
        ] {
            let found = match Certified::parse(one.as_bytes(), two.as_bytes()).unwrap_err() {
                CertifiedFault::Certificate(why) => (false, why),
                CertifiedFault::Key(why) => (true, why),
                CertifiedFault::Mismatch => panic!("{one} {two}"),
            };
            assert!(found.0 == of_key && found.1.starts_with(begins), "{begins}: {found:?}");
        }
    }
}
