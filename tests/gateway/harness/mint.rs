//! Keys of issuers, and tokens signed with them: good ones, and whatever else a hostile hand could write.
//!
//! Key pairs are made once per process and family slot; asking for the same one again is free.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// What a key pair is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl Family {
    pub const ALL: [Self; 5] = [Self::Rsa, Self::P256, Self::P384, Self::P521, Self::Ed25519];

    /// The algorithm that such a key signs with when nothing else is asked for.
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::Rsa => "RS256",
            Self::P256 => "ES256",
            Self::P384 => "ES384",
            Self::P521 => "ES512",
            Self::Ed25519 => "EdDSA",
        }
    }
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A signing key with its name.
#[derive(Clone, Copy)]
pub struct Key {
    pub family: Family,
    pub kid: &'static str,
    pair: &'static Pair,
}

impl Key {
    /// The key of this family that goes by `kid`: the same kid is the same key.
    pub fn new(family: Family, kid: &'static str) -> Self {
        static PAIRS: LazyLock<Mutex<HashMap<(Family, &'static str), &'static Pair>>> = LazyLock::new(Mutex::default);
        let mut pairs = PAIRS.lock().unwrap();
        let pair = pairs.entry((family, kid)).or_insert_with(|| Box::leak(Box::new(generate(family))));
        Self { family, kid, pair }
    }

    pub fn rsa(kid: &'static str) -> Self {
        Self::new(Family::Rsa, kid)
    }

    /// Quicker to make and to sign with than RSA.
    pub fn p256(kid: &'static str) -> Self {
        Self::new(Family::P256, kid)
    }

    /// This pair under another name: two keys of one kid, one key of two kids.
    pub fn named(self, kid: &'static str) -> Self {
        Self { kid, ..self }
    }

    /// The public key as a JWK (RFC 7517) with `kid`, `use` and no `alg`.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The members that RFC 7518 section 6 and RFC 8037 section 2 demand, and nothing else.
    fn public(&self) -> Value {
        match self.pair {
            Pair::Rsa(pair) => {
                // RSAPublicKey of 2048 bits and e = 65537 always has this layout: two heads, 257 bytes of n, 5 of e.
                let der = pair.public_key().as_ref();
                assert_eq!(der.len(), 270, "not a key of 2048 bits with e = 65537");
                json!({ "kty": "RSA", "n": base64(&der[9..265]), "e": base64(&der[267..270]) })
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                let curve = match self.family {
                    Family::P256 => "P-256",
                    Family::P384 => "P-384",
                    Family::P521 => "P-521",
                    Family::Rsa | Family::Ed25519 => unreachable!("not on such a curve"),
                };
                json!({ "kty": "EC", "crv": curve, "x": base64(x), "y": base64(y) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref()) })
            }
        }
    }

    /// The public key in every form in which somebody could take it for an HMAC secret.
    pub fn public_encodings(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (raw, spki): (&[u8], PublicKeyX509Der<'_>) = match self.pair {
            Pair::Rsa(pair) => (pair.public_key().as_ref(), pair.public_key().as_der().unwrap()),
            Pair::Ec(pair) => (pair.public_key().as_ref(), pair.public_key().as_der().unwrap()),
            Pair::Ed25519(pair) => (pair.public_key().as_ref(), pair.public_key().as_der().unwrap()),
        };
        let pem = |label: &str, der: &[u8]| {
            let text = STANDARD.encode(der);
            let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
        };
        let spki_pem = pem("PUBLIC KEY", spki.as_ref());
        let mut encodings = vec![
            ("PEM", spki_pem.clone().into_bytes()),
            ("PEM without the final newline", spki_pem.trim_end().as_bytes().to_vec()),
            ("PEM with CRLF", spki_pem.replace('\n', "\r\n").into_bytes()),
            ("DER", spki.as_ref().to_vec()),
            ("base64 of the DER", STANDARD.encode(spki.as_ref()).into_bytes()),
            ("JWK text", self.jwk().to_string().into_bytes()),
            ("JWK text without kid and use", self.public().to_string().into_bytes()),
            ("JWK Set text", jwk_set(&[*self]).to_string().into_bytes()),
            ("PKCS#1 DER, point or bytes", raw.to_vec()),
            ("PKCS#1 PEM", pem("RSA PUBLIC KEY", raw).into_bytes()),
            ("nothing", Vec::new()),
        ];
        for member in ["n", "x"] {
            if let Some(text) = self.public()[member].as_str() {
                encodings.push(("modulus or coordinate, bytes", URL_SAFE_NO_PAD.decode(text).unwrap()));
                encodings.push(("modulus or coordinate, text", text.as_bytes().to_vec()));
            }
        }
        encodings
    }

    /// A header as an issuer of RFC 9068 writes it.
    pub fn header(&self) -> Value {
        json!({ "alg": self.family.algorithm(), "typ": "at+jwt", "kid": self.kid })
    }

    /// A token with [`Key::header`].
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// A token with this very header, signed with the `alg` it names.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let algorithm = header["alg"].as_str().expect("an alg to sign with");
        self.sign_raw(algorithm, header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// A token of these very bytes: the signature is good, whatever they are.
    pub fn sign_raw(&self, algorithm: &str, header: &[u8], payload: &[u8]) -> String {
        let input = signing_input(header, payload);
        let signature = self.signature(algorithm, input.as_bytes());
        format!("{input}.{}", base64(&signature))
    }

    /// The signature over `input`.
    pub fn signature(&self, algorithm: &str, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self.pair {
            Pair::Rsa(pair) => {
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    other => panic!("an RSA key does not sign {other}"),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, input, &mut signature).expect("RSA signs");
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, input).expect("EC signs").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
        }
    }
}

/// A token authenticated with a shared secret, by the `alg` that the header names.
pub fn sign_hmac(secret: &[u8], header: &Value, claims: &Value) -> String {
    let algorithm = match header["alg"].as_str() {
        Some("HS256") => hmac::HMAC_SHA256,
        Some("HS384") => hmac::HMAC_SHA384,
        Some("HS512") => hmac::HMAC_SHA512,
        other => panic!("no HMAC is called {other:?}"),
    };
    let input = signing_input(header.to_string().as_bytes(), claims.to_string().as_bytes());
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret), input.as_bytes());
    format!("{input}.{}", base64(tag.as_ref()))
}

/// The first two parts of a compact JWS, of these very bytes (RFC 7515 section 7.1).
pub fn signing_input(header: &[u8], payload: &[u8]) -> String {
    format!("{}.{}", base64(header), base64(payload))
}

/// base64url without padding (RFC 7515 section 2).
pub fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key set of these keys.
pub fn jwk_set(keys: &[Key]) -> Value {
    json!({ "keys": keys.iter().map(Key::jwk).collect::<Vec<_>>() })
}

/// JWKs that must never be used, each with its `kid` and what is wrong with it.
pub fn unusable_jwks() -> Vec<Value> {
    let with = |mut jwk: Value, members: Value| {
        for (name, value) in members.as_object().expect("members") {
            jwk[name] = value.clone();
        }
        jwk
    };
    let rsa = Key::rsa("usable").public();
    let ec = Key::p256("usable").public();
    let short_modulus: Vec<u8> = (0..128).map(|at| if at == 0 { 0xc1 } else { at | 1 }).collect();
    vec![
        json!({ "kid": "oct", "kty": "oct", "k": base64(&[7; 32]) }),
        with(rsa.clone(), json!({ "kid": "private", "d": base64(&[9; 256]) })),
        with(rsa.clone(), json!({ "kid": "rsa-1024", "n": base64(&short_modulus) })),
        with(rsa.clone(), json!({ "kid": "enc", "use": "enc" })),
        with(rsa.clone(), json!({ "kid": "encrypts", "key_ops": ["encrypt"] })),
        with(rsa, json!({ "kid": "even-e", "e": base64(&[4]) })),
        with(ec, json!({ "kid": "off-curve", "y": base64(&[1; 32]) })),
        json!({ "kid": "post-quantum", "kty": "AKP", "alg": "ML-DSA-65", "pub": base64(&[3; 1952]) }),
        json!({ "kid": "malformed", "kty": "RSA", "n": 17 }),
    ]
}

fn generate(family: Family) -> Pair {
    let ec = |algorithm| Pair::Ec(EcdsaKeyPair::generate(algorithm).expect("an EC key"));
    match family {
        Family::Rsa => Pair::Rsa(RsaKeyPair::generate(rsa::KeySize::Rsa2048).expect("an RSA key")),
        Family::P256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Family::P384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Family::P521 => ec(&ECDSA_P521_SHA512_FIXED_SIGNING),
        Family::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().expect("an Ed25519 key")),
    }
}

mod tests {
    use bearward::policy::dialect::Dialect;
    use bearward::policy::issuer::{Issuer, Recognition};
    use bearward::policy::jwk::{Jwk, JwkSet, Selection};
    use bearward::policy::jwt::{Algorithm, HmacSecret, UnverifiedJwt};
    use bearward::policy::reject::Code;

    use super::*;

    fn verify(token: &str, keys: &[&Jwk]) -> Result<(), Code> {
        let issuer = Issuer {
            name: "main".to_owned(),
            spellings: vec!["https://login.example.com".to_owned()],
            recognition: Recognition::Dialect(Dialect::named("rfc9068").unwrap()),
            algorithms: Algorithm::ALL.to_vec(),
            leeway: 0,
            accept_id_tokens: false,
            scope_claim: None,
            known_clients: Vec::new(),
            hmac_secret: None,
            introspection: None,
        };
        let token = UnverifiedJwt::parse(token).map_err(|reject| reject.code())?;
        token.verify(&issuer, keys).map(|_| ()).map_err(|reject| reject.code())
    }

    fn verify_with(token: &str, key: Key, algorithm: Algorithm) -> Result<(), Code> {
        let set = JwkSet::parse(jwk_set(&[key]).to_string().as_bytes()).unwrap();
        let Selection::Keys(keys) = set.select(Some(key.kid), algorithm) else { panic!("{algorithm:?} is not there") };
        verify(token, &keys)
    }

    /// What is minted verifies with its own key, by every algorithm, and not with another key of the same name.
    #[test]
    fn what_is_minted_verifies() {
        let claims = json!({ "iss": "https://login.example.com" });
        for algorithm in Algorithm::ASYMMETRIC {
            let family = match algorithm {
                Algorithm::ES256 => Family::P256,
                Algorithm::ES384 => Family::P384,
                Algorithm::ES512 => Family::P521,
                Algorithm::EdDSA => Family::Ed25519,
                Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => Family::Rsa,
                Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => Family::Rsa,
                Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => unreachable!("not asymmetric"),
            };
            let (key, other) = (Key::new(family, "a"), Key::new(family, "b").named("a"));
            let mut header = key.header();
            header["alg"] = json!(algorithm.name());
            let token = key.sign(&header, &claims);
            assert_eq!(verify_with(&token, key, *algorithm), Ok(()), "{algorithm:?}");
            assert_eq!(verify_with(&token, other, *algorithm), Err(Code::SignatureInvalid), "{algorithm:?}");
        }
    }

    #[test]
    fn each_family_signs_with_an_algorithm_of_its_own() {
        for family in Family::ALL {
            let key = Key::new(family, "a");
            let algorithm = Algorithm::named(family.algorithm()).unwrap();
            assert_eq!(verify_with(&key.token(&json!({})), key, algorithm), Ok(()), "{family:?}");
        }
    }

    #[test]
    fn what_is_minted_with_a_secret_verifies() {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let secret = [7; 64];
            let token = sign_hmac(&secret, &json!({ "alg": algorithm.name() }), &json!({}));
            assert_eq!(verify(&token, &[HmacSecret::new(&secret).key()]), Ok(()));
            assert_eq!(verify(&token, &[HmacSecret::new(&[8; 64]).key()]), Err(Code::SignatureInvalid));
        }
    }

    #[test]
    fn no_unusable_key_is_usable() {
        let keys = unusable_jwks();
        let set = JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        assert_eq!((set.len(), set.unusable().len()), (0, keys.len()));
    }
}
