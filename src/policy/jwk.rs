//! An issuer's key set: parsed leniently, selected from strictly.
//!
//! One key that cannot be used does not spoil the set: it is left out and listed. A key is used when
//!
//! 1. it is a public RSA key of 2048 to 8192 bits with an odd exponent above 1, an EC key on P-256, P-384 or P-521
//!    whose point is on its curve, or an Ed25519 key; never a symmetric or a private one;
//! 2. its `use` is absent or `sig`, and its `key_ops` absent or with `verify` (RFC 7517 sections 4.2 and 4.3);
//! 3. its `alg` is absent or a signature algorithm that fits the key (RFC 7517 section 4.4).
//!
//! A token then selects by `kid`, algorithm and key type (RFC 8725 section 3.1): the token never decides what a key is for.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature as aws;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;

use super::json::{Json, Object};
use super::jwt::Algorithm;
use super::roca;

/// The usable keys of one issuer, and what was left out.
#[derive(Debug, Clone, Default)]
pub struct JwkSet {
    keys: Vec<Jwk>,
    unusable: Vec<Unusable>,
}

/// A key that was left out of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Its `kid`, where that is a string.
    pub kid: Option<String>,
    /// Why it cannot be used.
    pub why: &'static str,
}

/// What a token's `kid` and `alg` find in a set.
#[derive(Debug)]
pub enum Selection<'a> {
    /// These keys may have signed it: one, or a few under one `kid`.
    Keys(Vec<&'a Jwk>),
    /// No key has that `kid`, or none of that algorithm where there is no `kid`: the set may be old.
    Unknown,
    /// Several keys could be meant and no `kid` says which. A newer set would not help.
    Undecided,
    /// The `kid` is there, but its key is not for that algorithm.
    Misfit,
}

impl JwkSet {
    /// How many keys of a set are looked at.
    pub const MAX_KEYS: usize = 256;
    /// How many keys under one `kid` a signature is tried with.
    pub const MAX_TRIED: usize = 4;

    /// Reads a JWK Set (RFC 7517 section 5).
    ///
    /// # Errors
    ///
    /// Says why this is no key set at all. A set without a usable key is no error here.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let Json::Object(document) = Json::parse(bytes)? else { return Err("is not a JSON object") };
        let Some(keys) = document.get("keys").and_then(Json::as_array) else {
            return Err("has no array `keys`");
        };
        let mut set = Self::default();
        for (index, key) in keys.iter().enumerate() {
            let kid = key.as_object().and_then(|key| key.get("kid")).and_then(Json::as_str).map(str::to_owned);
            let read = if index < Self::MAX_KEYS {
                Jwk::read(key)
            } else {
                Err("stands beyond the first 256 keys of the set")
            };
            match read {
                Ok(key) => set.keys.push(key),
                Err(why) => set.unusable.push(Unusable { kid, why }),
            }
        }
        Ok(set)
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that were left out.
    pub fn unusable(&self) -> &[Unusable] {
        &self.unusable
    }

    /// Whether [`JwkSet::select`] still gives this very key for a token with this `kid` and algorithm.
    pub fn has(&self, key: Thumbprint, kid: Option<&str>, algorithm: Algorithm) -> bool {
        match self.select(kid, algorithm) {
            Selection::Keys(keys) => keys.iter().any(|known| known.thumbprint == key),
            Selection::Unknown | Selection::Undecided | Selection::Misfit => false,
        }
    }

    /// The keys that may have signed a token with this `kid` and algorithm.
    pub fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Selection<'_> {
        let fits = |key: &&Jwk| key.fits(algorithm);
        let Some(kid) = kid else {
            let mut keys = self.keys.iter().filter(fits);
            return match (keys.next(), keys.next()) {
                (Some(key), None) => Selection::Keys(vec![key]),
                (Some(_), Some(_)) => Selection::Undecided,
                (None, _) => Selection::Unknown,
            };
        };
        let named = || self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid));
        let keys: Vec<&Jwk> = named().filter(fits).take(Self::MAX_TRIED).collect();
        if !keys.is_empty() {
            Selection::Keys(keys)
        } else if named().next().is_some() {
            Selection::Misfit
        } else {
            Selection::Unknown
        }
    }
}

/// One key that can check signatures.
#[derive(Clone)]
pub struct Jwk {
    kid: Option<String>,
    alg: Option<Algorithm>,
    material: Material,
    thumbprint: Thumbprint,
}

/// Names a key by what it is (RFC 7638): the same key has the same one under every `kid`, and no other key has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// SHA-256 over the members that make the key, in lexicographic order, without white space.
    fn of(members: &[(&str, &str)]) -> Self {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let digest = digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

#[derive(Clone)]
enum Material {
    Rsa(DecodingKey),
    P256(DecodingKey),
    P384(DecodingKey),
    /// Uncompressed point (SEC 1 section 2.3.3); `jsonwebtoken` has no ES512.
    P521(Vec<u8>),
    Ed25519(DecodingKey),
    Secret(DecodingKey),
}

impl fmt::Debug for Jwk {
    /// The key's names; its material may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk").field("kid", &self.kid).field("alg", &self.alg).finish_non_exhaustive()
    }
}

impl Jwk {
    /// A secret that signer and verifier share; it is never part of a set.
    pub(super) fn secret(bytes: &[u8]) -> Self {
        let thumbprint = Thumbprint::of(&[("k", &URL_SAFE_NO_PAD.encode(bytes)), ("kty", "oct")]);
        Self { kid: None, alg: None, material: Material::Secret(DecodingKey::from_secret(bytes)), thumbprint }
    }

    /// The key's own name, whatever its set calls it.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// The key's id in its set.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether a signature of this algorithm may be checked with this key.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.alg.is_none_or(|alg| alg == algorithm) && self.material.fits(algorithm)
    }

    /// Whether `signature` over `input` verifies. `signature_text` is the same signature in base64url.
    ///
    /// A key that does not fit the algorithm verifies nothing.
    pub(super) fn verifies(&self, algorithm: Algorithm, input: &[u8], signature_text: &str, signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::P521(point) => {
                aws::UnparsedPublicKey::new(&aws::ECDSA_P521_SHA512_FIXED, point).verify(input, signature).is_ok()
            }
            Material::Rsa(key)
            | Material::P256(key)
            | Material::P384(key)
            | Material::Ed25519(key)
            | Material::Secret(key) => algorithm.in_library().is_some_and(|algorithm| {
                // An error is a key or a signature of the wrong form: neither verifies.
                jsonwebtoken::crypto::verify(signature_text, input, key, algorithm).unwrap_or(false)
            }),
        }
    }

    fn read(json: &Json) -> Result<Self, &'static str> {
        let key = json.as_object().ok_or("is not a JSON object")?;
        if key.has_repeated_member() {
            return Err("repeats a member name");
        }
        let kid = optional_text(key, "kid", "has a `kid` that is not a string")?;
        let usage = optional_text(key, "use", "has a `use` that is not a string")?;
        if usage.is_some_and(|usage| usage != "sig") {
            return Err("has a `use` other than `sig`");
        }
        if let Some(operations) = key.get("key_ops") {
            let operations = operations.as_array().ok_or("has `key_ops` that are not an array")?;
            if !operations.iter().any(|operation| operation.as_str() == Some("verify")) {
                return Err("has `key_ops` without `verify`");
            }
        }
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|member| key.has(member)) {
            return Err("is a private or symmetric key, which a key set must never publish");
        }
        let (material, thumbprint) = Material::read(key)?;
        let alg = match optional_text(key, "alg", "has an `alg` that is not a string")? {
            None => None,
            // RFC 9864 section 2.2: `Ed25519` is what `EdDSA` means with this curve.
            Some("Ed25519") => Some(Algorithm::EdDSA),
            Some(name) => Some(Algorithm::named(name).ok_or("has an `alg` that is no signature algorithm known here")?),
        };
        if alg.is_some_and(|alg| !material.fits(alg)) {
            return Err("has an `alg` that does not fit its key type");
        }
        Ok(Self { kid: kid.map(str::to_owned), alg, material, thumbprint })
    }
}

impl Material {
    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa(_) => algorithm.is_rsa(),
            Self::P256(_) => algorithm == Algorithm::ES256,
            Self::P384(_) => algorithm == Algorithm::ES384,
            Self::P521(_) => algorithm == Algorithm::ES512,
            Self::Ed25519(_) => algorithm == Algorithm::EdDSA,
            Self::Secret(_) => algorithm.is_hmac(),
        }
    }

    fn read(key: &Object) -> Result<(Self, Thumbprint), &'static str> {
        let curve = key.get("crv").and_then(Json::as_str);
        match (key.get("kty").and_then(Json::as_str), curve) {
            (Some("RSA"), _) => rsa(key),
            (Some("EC"), Some("P-256")) => {
                let (point, thumbprint) = point(key, "P-256", 32, &aws::ECDSA_P256_SHA256_FIXED)?;
                Ok((Self::P256(DecodingKey::from_ec_der(&point)), thumbprint))
            }
            (Some("EC"), Some("P-384")) => {
                let (point, thumbprint) = point(key, "P-384", 48, &aws::ECDSA_P384_SHA384_FIXED)?;
                Ok((Self::P384(DecodingKey::from_ec_der(&point)), thumbprint))
            }
            (Some("EC"), Some("P-521")) => {
                let (point, thumbprint) = point(key, "P-521", 66, &aws::ECDSA_P521_SHA512_FIXED)?;
                Ok((Self::P521(point), thumbprint))
            }
            (Some("EC"), _) => Err("is on a curve that is not supported (P-256, P-384, P-521 are)"),
            (Some("OKP"), Some("Ed25519")) => {
                let bytes = binary(key, "x")?;
                let valid = bytes.len() == 32 && aws::ParsedPublicKey::new(&aws::ED25519, &bytes).is_ok();
                if !valid {
                    return Err("is no Ed25519 public key");
                }
                let x = URL_SAFE_NO_PAD.encode(&bytes);
                let thumbprint = Thumbprint::of(&[("crv", "Ed25519"), ("kty", "OKP"), ("x", &x)]);
                Ok((Self::Ed25519(DecodingKey::from_ed_der(&bytes)), thumbprint))
            }
            (Some("OKP"), _) => Err("is on a curve that is not supported (Ed25519 is)"),
            (Some("oct"), _) => Err("is a private or symmetric key, which a key set must never publish"),
            (Some(_), _) => Err("is of a key type that is not supported (RSA, EC, OKP are)"),
            (None, _) => Err("has no `kty`"),
        }
    }
}

fn rsa(key: &Object) -> Result<(Material, Thumbprint), &'static str> {
    let modulus = binary(key, "n")?;
    let exponent = binary(key, "e")?;
    // RFC 7518 section 2: Base64urlUInt has no leading zero octets, but issuers with a signed-integer library send one.
    let modulus = without_leading_zeros(&modulus);
    let exponent = without_leading_zeros(&exponent);
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err("is an RSA key that is not of 2048 to 8192 bits");
    }
    let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    if !odd || exponent == [1] {
        return Err("is an RSA key whose exponent is even or 1");
    }
    if roca::is_weak(modulus) {
        return Err("is an RSA key that can be factored (CVE-2017-15361)");
    }
    aws::RsaPublicKeyComponents { n: modulus, e: exponent }
        .to_parsed_public_key(&aws::RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| "is no RSA public key")?;
    let (n, e) = (URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(exponent));
    let thumbprint = Thumbprint::of(&[("e", &e), ("kty", "RSA"), ("n", &n)]);
    Ok((Material::Rsa(DecodingKey::from_rsa_raw_components(modulus, exponent)), thumbprint))
}

/// The uncompressed point of an EC key, seen to be on its curve (RFC 7518 section 6.2.1).
fn point(
    key: &Object,
    curve: &str,
    size: usize,
    algorithm: &'static aws::EcdsaVerificationAlgorithm,
) -> Result<(Vec<u8>, Thumbprint), &'static str> {
    let (x, y) = (binary(key, "x")?, binary(key, "y")?);
    if x.len() != size || y.len() != size {
        return Err("is an EC key whose coordinates are not of its curve's length");
    }
    let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
    aws::ParsedPublicKey::new(algorithm, &point).map_err(|_| "is an EC key whose point is not on its curve")?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let thumbprint = Thumbprint::of(&[("crv", curve), ("kty", "EC"), ("x", &x), ("y", &y)]);
    Ok((point, thumbprint))
}

fn binary(key: &Object, member: &str) -> Result<Vec<u8>, &'static str> {
    let text = key.get(member).and_then(Json::as_str).ok_or("lacks a member that its key type needs")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "has a member that is not base64url")
}

fn optional_text<'a>(key: &'a Object, member: &str, problem: &'static str) -> Result<Option<&'a str>, &'static str> {
    key.get(member).map(|value| value.as_str().ok_or(problem)).transpose()
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_that_of_rfc_7638() {
        // The key and the thumbprint of RFC 7638 section 3.1.
        let set = JwkSet::parse(
            br#"{"keys":[{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}]}"#,
        )
        .unwrap();
        let Selection::Keys(keys) = set.select(Some("2011-04-29"), Algorithm::RS256) else { panic!("no key") };
        let Thumbprint(bytes) = keys[0].thumbprint();
        assert_eq!(URL_SAFE_NO_PAD.encode(bytes), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
