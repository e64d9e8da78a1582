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
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, EcdsaVerificationAlgorithm,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::json::{Json, Object};
use super::jwt::Algorithm;
use super::reject::Quoted;
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
    /// How many keys that were left out are named.
    const MAX_LISTED: usize = 16;

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

    /// The algorithms that at least one of the keys is for.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let fits = |algorithm: &Algorithm| self.keys.iter().any(|key| key.fits(*algorithm));
        Algorithm::ALL.iter().copied().filter(fits).collect()
    }

    /// The keys that were left out, each with the reason, in one line for people; of very many the first.
    pub fn left_out(&self) -> String {
        let keys = self.unusable.iter().take(Self::MAX_LISTED).map(|key| match &key.kid {
            Some(kid) => format!("{} {}", Quoted::from(kid.as_str()), key.why),
            None => format!("one without kid {}", key.why),
        });
        keys.collect::<Vec<_>>().join("; ")
    }

    /// The keys that were left out.
    pub fn unusable(&self) -> &[Unusable] {
        &self.unusable
    }

    /// The usable keys as a JWK Set that [`JwkSet::parse`] reads: their public members alone, whatever else they came with.
    pub fn to_json(&self) -> Value {
        json!({ "keys": self.keys.iter().map(Jwk::to_json).collect::<Vec<_>>() })
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
    checks: Checks,
    /// What makes the key, and is public; nothing where the key is a secret.
    public: Members,
    thumbprint: Thumbprint,
}

/// Members of a JWK in lexicographic order, binary ones in base64url.
type Members = Vec<(&'static str, String)>;

/// What a key can check: itself, parsed once, for each algorithm that it may be used with.
type Checks = Vec<(Algorithm, Check)>;

#[derive(Clone)]
enum Check {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl Check {
    fn takes(&self, input: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Public(key) => key.verify_sig(input, signature).is_ok(),
            Self::Secret(key) => hmac::verify(key, input, signature).is_ok(),
        }
    }
}

/// Names a key by what it is (RFC 7638): the same key has the same one under every `kid`, and no other key has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// SHA-256 over the members that make the key, in lexicographic order, without white space.
    fn of(members: &[(&str, String)]) -> Self {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let digest = digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Debug for Jwk {
    /// What it is called and good for; it may be a secret itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<Algorithm> = self.checks.iter().map(|(algorithm, _)| *algorithm).collect();
        f.debug_struct("Jwk").field("kid", &self.kid).field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

impl Jwk {
    /// A secret that signer and verifier share; it is never part of a set.
    pub(super) fn secret(bytes: &[u8]) -> Self {
        let thumbprint = Thumbprint::of(&[("k", URL_SAFE_NO_PAD.encode(bytes)), ("kty", "oct".to_owned())]);
        let checks = HMAC.iter().map(|(name, hash)| (*name, Check::Secret(Box::new(hmac::Key::new(*hash, bytes)))));
        Self { kid: None, checks: checks.collect(), public: Members::new(), thumbprint }
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
        self.check(algorithm).is_some()
    }

    /// Whether `signature` over `input` verifies. A key that does not fit the algorithm verifies nothing.
    pub(super) fn verifies(&self, algorithm: Algorithm, input: &[u8], signature: &[u8]) -> bool {
        self.check(algorithm).is_some_and(|check| check.takes(input, signature))
    }

    fn check(&self, algorithm: Algorithm) -> Option<&Check> {
        self.checks.iter().find(|(fitting, _)| *fitting == algorithm).map(|(_, check)| check)
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
        let (mut checks, public) = material(key)?;
        let alg = match optional_text(key, "alg", "has an `alg` that is not a string")? {
            None => None,
            // RFC 9864 section 2.2: `Ed25519` is what `EdDSA` means with this curve.
            Some("Ed25519") => Some(Algorithm::EdDSA),
            Some(name) => Some(Algorithm::named(name).ok_or("has an `alg` that is no signature algorithm known here")?),
        };
        checks.retain(|(algorithm, _)| alg.is_none_or(|alg| alg == *algorithm));
        if checks.is_empty() {
            return Err("has an `alg` that does not fit its key type");
        }
        let thumbprint = Thumbprint::of(&public);
        Ok(Self { kid: kid.map(str::to_owned), checks, public, thumbprint })
    }

    /// The key's public members, its `kid`, and its `alg` where it is good for one alone.
    fn to_json(&self) -> Value {
        let alg = if let [(algorithm, _)] = &self.checks[..] { Some(algorithm.name()) } else { None };
        let named = [("kid", self.kid.as_deref()), ("alg", alg)].into_iter();
        let named = named.filter_map(|(member, value)| Some((member, value?)));
        let public = self.public.iter().map(|(member, value)| (*member, value.as_str()));
        public.chain(named).map(|(member, value)| (member.to_owned(), Value::from(value))).collect()
    }
}

/// The key itself, by its type (RFC 7518 section 6, RFC 8037 section 2).
fn material(key: &Object) -> Result<(Checks, Members), &'static str> {
    let curve = key.get("crv").and_then(Json::as_str);
    match (key.get("kty").and_then(Json::as_str), curve) {
        (Some("RSA"), _) => rsa(key),
        (Some("EC"), Some("P-256")) => point(key, "P-256", 32, Algorithm::ES256, &ECDSA_P256_SHA256_FIXED),
        (Some("EC"), Some("P-384")) => point(key, "P-384", 48, Algorithm::ES384, &ECDSA_P384_SHA384_FIXED),
        (Some("EC"), Some("P-521")) => point(key, "P-521", 66, Algorithm::ES512, &ECDSA_P521_SHA512_FIXED),
        (Some("EC"), _) => Err("is on a curve that is not supported (P-256, P-384, P-521 are)"),
        (Some("OKP"), Some("Ed25519")) => ed25519(key),
        (Some("OKP"), _) => Err("is on a curve that is not supported (Ed25519 is)"),
        (Some("oct"), _) => Err("is a private or symmetric key, which a key set must never publish"),
        (Some(_), _) => Err("is of a key type that is not supported (RSA, EC, OKP are)"),
        (None, _) => Err("has no `kty`"),
    }
}

fn members<const N: usize>(members: [(&'static str, &str); N]) -> Members {
    members.into_iter().map(|(member, value)| (member, value.to_owned())).collect()
}

fn rsa(key: &Object) -> Result<(Checks, Members), &'static str> {
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
    let components = RsaPublicKeyComponents { n: modulus, e: exponent };
    let check = |(algorithm, parameters): &(Algorithm, &'static RsaParameters)| {
        let parsed = components.to_parsed_public_key(parameters).ok()?;
        Some((*algorithm, Check::Public(parsed)))
    };
    let checks = RSA.iter().map(check).collect::<Option<_>>().ok_or("is no RSA public key")?;
    let (n, e) = (URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(exponent));
    Ok((checks, members([("e", &e), ("kty", "RSA"), ("n", &n)])))
}

/// The uncompressed point of an EC key, seen to be on its curve (RFC 7518 section 6.2.1).
fn point(
    key: &Object,
    curve: &str,
    size: usize,
    algorithm: Algorithm,
    parameters: &'static EcdsaVerificationAlgorithm,
) -> Result<(Checks, Members), &'static str> {
    let (x, y) = (binary(key, "x")?, binary(key, "y")?);
    if x.len() != size || y.len() != size {
        return Err("is an EC key whose coordinates are not of its curve's length");
    }
    let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
    let parsed =
        ParsedPublicKey::new(parameters, &point).map_err(|_| "is an EC key whose point is not on its curve")?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let public = members([("crv", curve), ("kty", "EC"), ("x", &x), ("y", &y)]);
    Ok((vec![(algorithm, Check::Public(parsed))], public))
}

fn ed25519(key: &Object) -> Result<(Checks, Members), &'static str> {
    let bytes = binary(key, "x")?;
    // The parser would take other encodings of a key than the bare 32 bytes.
    let parsed = ParsedPublicKey::new(&ED25519, &bytes).ok().filter(|_| bytes.len() == 32);
    let parsed = parsed.ok_or("is no Ed25519 public key")?;
    let x = URL_SAFE_NO_PAD.encode(&bytes);
    let public = members([("crv", "Ed25519"), ("kty", "OKP"), ("x", &x)]);
    Ok((vec![(Algorithm::EdDSA, Check::Public(parsed))], public))
}

/// What an RSA key of unsaid `alg` may check.
static RSA: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::RS256, &RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::RS384, &RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::RS512, &RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::PS256, &RSA_PSS_2048_8192_SHA256),
    (Algorithm::PS384, &RSA_PSS_2048_8192_SHA384),
    (Algorithm::PS512, &RSA_PSS_2048_8192_SHA512),
];

/// What a shared secret may check.
static HMAC: [(Algorithm, hmac::Algorithm); 3] = [
    (Algorithm::HS256, hmac::HMAC_SHA256),
    (Algorithm::HS384, hmac::HMAC_SHA384),
    (Algorithm::HS512, hmac::HMAC_SHA512),
];

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
