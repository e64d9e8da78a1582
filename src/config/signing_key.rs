//! A private key of ours, for what we say to issuers about ourselves.

use std::fmt;

use jsonwebtoken::{Algorithm as LibraryAlgorithm, EncodingKey};
use serde_json::{Map, Value};

use super::secret::Secret;
use crate::policy::jwt::Algorithm;

/// A key that signs JWTs. Two are equal where the same file, algorithm and name made them.
#[derive(Clone)]
pub struct SigningKey {
    pem: Secret,
    kid: Option<String>,
    algorithm: Algorithm,
    library: (LibraryAlgorithm, EncodingKey),
}

/// Why nothing can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Nobody signs so here: ES512, and HMAC, which is no proof of who we are.
    Algorithm,
    /// The key is none, or none for the algorithm.
    Key,
}

impl SigningKey {
    /// Takes a PEM text (PKCS#8), the name that issuers know the key by, and what it signs with.
    ///
    /// # Errors
    ///
    /// See [`Unfit`].
    pub fn new(pem: Secret, kid: Option<String>, algorithm: Algorithm) -> Result<Self, Unfit> {
        let text = pem.reveal();
        let rsa = |algorithm| (algorithm, EncodingKey::from_rsa_pem(text));
        let ec = |algorithm| (algorithm, EncodingKey::from_ec_pem(text));
        let (library, key) = match algorithm {
            Algorithm::RS256 => rsa(LibraryAlgorithm::RS256),
            Algorithm::RS384 => rsa(LibraryAlgorithm::RS384),
            Algorithm::RS512 => rsa(LibraryAlgorithm::RS512),
            Algorithm::PS256 => rsa(LibraryAlgorithm::PS256),
            Algorithm::PS384 => rsa(LibraryAlgorithm::PS384),
            Algorithm::PS512 => rsa(LibraryAlgorithm::PS512),
            Algorithm::ES256 => ec(LibraryAlgorithm::ES256),
            Algorithm::ES384 => ec(LibraryAlgorithm::ES384),
            Algorithm::EdDSA => (LibraryAlgorithm::EdDSA, EncodingKey::from_ed_pem(text)),
            Algorithm::ES512 | Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                return Err(Unfit::Algorithm);
            }
        };
        let key = Self { library: (library, key.map_err(|_| Unfit::Key)?), pem, kid, algorithm };
        // A key of another curve is seen only when it signs.
        key.sign(&Map::new()).map(|_| key).ok_or(Unfit::Key)
    }

    /// A JWT of these claims, whose header names the key; none where the key does not sign.
    pub fn sign(&self, claims: &Map<String, Value>) -> Option<String> {
        let (algorithm, key) = &self.library;
        let mut header = jsonwebtoken::Header::new(*algorithm);
        header.kid.clone_from(&self.kid);
        jsonwebtoken::encode(&header, claims, key).ok()
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.pem, &self.kid, self.algorithm) == (&other.pem, &other.kid, other.algorithm)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
