//! Keys of the embedded issuer: made when it starts, gone when it ends.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// Signs for one issuer: RS256 with a key that its key set tells, HS256 with the client's secret, as providers do that
/// have no key for a client, and HS512 with a secret that nobody else has.
pub struct Signer {
    /// The last one signs; those before it still verify.
    keys: Vec<KeyPair>,
    client_secret: hmac::Key,
    own_secret: hmac::Key,
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SignFault {
    /// The sample names an algorithm that no provider of the demo uses.
    #[error("no provider of the demo signs with {0}")]
    Algorithm(String),
    /// The library failed.
    #[error("the cryptographic library failed")]
    Library(#[from] Unspecified),
}

impl Signer {
    /// Makes the keys; an RSA key takes about a tenth of a second.
    ///
    /// # Errors
    ///
    /// The cryptographic library failed.
    pub fn new(client_secret: &str) -> Result<Self, SignFault> {
        let client_secret = hmac::Key::new(hmac::HMAC_SHA256, client_secret.as_bytes());
        let own_secret = hmac::Key::generate(hmac::HMAC_SHA512, &rand::SystemRandom::new())?;
        Ok(Self { keys: vec![KeyPair::generate(KeySize::Rsa2048)?], client_secret, own_secret })
    }

    /// Signs with a new key from now on; the former ones stay in the key set.
    ///
    /// # Errors
    ///
    /// The cryptographic library failed.
    pub fn rotate(&mut self) -> Result<(), SignFault> {
        self.keys.push(KeyPair::generate(KeySize::Rsa2048)?);
        Ok(())
    }

    /// The compact form (RFC 7515 section 7.1), signed with the `alg` of the header.
    ///
    /// # Errors
    ///
    /// The header names another algorithm, or the library failed.
    pub fn sign(&self, header: &Map<String, Value>, claims: &Map<String, Value>) -> Result<String, SignFault> {
        let encode = |object: &Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(object.clone()).to_string());
        let last = self.keys.len() - 1;
        let mut header = header.clone();
        if let Some(Value::String(kid)) = header.get_mut("kid") {
            *kid = named(kid, last);
        }
        let input = format!("{}.{}", encode(&header), encode(claims));
        let signature = match header.get("alg").and_then(Value::as_str) {
            Some("RS256") => {
                let key = &self.keys[last];
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &rand::SystemRandom::new(), input.as_bytes(), &mut signature)?;
                signature
            }
            Some("HS256") => hmac::sign(&self.client_secret, input.as_bytes()).as_ref().to_vec(),
            Some("HS512") => hmac::sign(&self.own_secret, input.as_bytes()).as_ref().to_vec(),
            other => return Err(SignFault::Algorithm(other.unwrap_or("nothing").to_owned())),
        };
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The public keys as JWKs (RFC 7517); the first one is known by that `kid`.
    pub fn jwks(&self, kid: &str) -> Vec<Value> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = |(number, key): (usize, &KeyPair)| {
            let (n, e) = rsa_members(key.public_key().as_ref())?;
            let kid = named(kid, number);
            Some(json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": encode(n), "e": encode(e)}))
        };
        self.keys.iter().enumerate().filter_map(jwk).collect()
    }
}

/// The `kid` of the key of that number.
fn named(kid: &str, number: usize) -> String {
    if number == 0 { kid.to_owned() } else { format!("{kid}-{number}") }
}

/// Modulus and exponent of an `RSAPublicKey` in DER (RFC 8017 appendix A.1.1): a sequence of two integers.
fn rsa_members(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (members, rest) = element(der, 0x30)?;
    let (n, members) = element(members, 0x02)?;
    let (e, members) = element(members, 0x02)?;
    // DER puts a zero before an integer whose first bit is set; a JWK must not have it (RFC 7518 section 6.3.1.1).
    let zeros = |bytes: &[u8]| bytes.iter().take_while(|byte| **byte == 0).count();
    (rest.is_empty() && members.is_empty()).then(|| (&n[zeros(n)..], &e[zeros(e)..]))
}

/// The content of the element of that tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[first, length], rest) = der.split_first_chunk::<2>()?;
    if first != tag {
        return None;
    }
    // Below 128 the byte is the length; from there on it tells how many bytes hold the length.
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        (bytes.iter().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?, rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_key_are_read_without_the_sign_byte() {
        let der = [0x30, 0x09, 0x02, 0x02, 0x00, 0x81, 0x02, 0x03, 0x01, 0x00, 0x01];
        assert_eq!(rsa_members(&der), Some((&[0x81][..], &[1, 0, 1][..])));
        assert_eq!(rsa_members(&der[..10]), None, "cut short");
        assert_eq!(rsa_members(&[&der[..], &[0]].concat()), None, "with something behind it");
    }

    #[test]
    fn the_key_set_and_the_signature_belong_together() {
        let mut signer = Signer::new("secret").unwrap();
        let Value::Object(header) = json!({"alg": "RS256", "kid": "k/+="}) else { unreachable!("an object") };
        let before = signer.sign(&header, &Map::new()).unwrap();
        signer.rotate().unwrap();
        let after = signer.sign(&header, &Map::new()).unwrap();
        let jwks = signer.jwks("k/+=");
        for (token, jwk, kid) in [(before, &jwks[0], "k/+="), (after, &jwks[1], "k/+=-1")] {
            assert_eq!((&jwk["kid"], &jwk["e"]), (&json!(kid), &json!("AQAB")));
            let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
            assert_eq!((n.len(), n[0] & 0x80), (256, 0x80));
            let (input, signature) = token.rsplit_once('.').unwrap();
            let told: Value = URL_SAFE_NO_PAD
                .decode(input.split('.').next().unwrap())
                .map(|json| serde_json::from_slice(&json))
                .unwrap()
                .unwrap();
            assert_eq!(told["kid"], kid);
            let key = aws_lc_rs::signature::RsaPublicKeyComponents { n, e: vec![1, 0, 1] };
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            key.verify(&aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature).unwrap();
        }
    }

    #[test]
    fn an_algorithm_that_is_not_the_demos_is_an_error() {
        let signer = Signer::new("secret").unwrap();
        assert!(matches!(signer.sign(&Map::new(), &Map::new()), Err(SignFault::Algorithm(_))));
    }
}
