//! The compact JWS: its form, and the way from bytes that anybody can write to claims that an issuer signed.
//!
//! [`UnverifiedJwt`] is a token that could be read; what it says can only lead to a refusal. [`SignedClaims`] comes from
//! [`UnverifiedJwt::verify`] alone. Signatures are checked by `aws-lc-rs`; every member of the header and every claim is
//! judged here.
//!
//! The form (RFC 7515 section 7.1, RFC 7519 section 7.2), each of which a token must have:
//!
//! 1. exactly three parts, of which the first two are not empty;
//! 2. strict base64url: no padding, no other alphabet, no bits left over;
//! 3. header and payload are one JSON object each, without repeated members, at most 32 levels deep;
//! 4. `typ`, `cty` and `kid` are strings where present; `kid` has at most 256 bytes and no control character;
//! 5. it is not encrypted (`enc`) and not nested (`cty: JWT`).

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::claims::{Claims, Source};
use super::issuer::Issuer;
use super::json::{Json, Object};
use super::jwk::{Jwk, Thumbprint};
use super::reject::{Quoted, Reject};

macro_rules! algorithms {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// A signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Algorithm { $($(#[doc = $doc])+ $name,)+ }

        impl Algorithm {
            /// Every algorithm that is known here.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The value of `alg`, byte for byte.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

algorithms! {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256;
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384;
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512;
    /// RSASSA-PSS with SHA-256.
    PS256;
    /// RSASSA-PSS with SHA-384.
    PS384;
    /// RSASSA-PSS with SHA-512.
    PS512;
    /// ECDSA on P-256 with SHA-256.
    ES256;
    /// ECDSA on P-384 with SHA-384.
    ES384;
    /// ECDSA on P-521 with SHA-512.
    ES512;
    /// Ed25519.
    EdDSA;
    /// HMAC with SHA-256.
    HS256;
    /// HMAC with SHA-384.
    HS384;
    /// HMAC with SHA-512.
    HS512;
}

impl Algorithm {
    /// What an issuer with public keys may sign with where nothing else is said.
    pub const ASYMMETRIC: &'static [Self] = &[
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
    ];

    /// The algorithm of that name; case counts (RFC 7515 section 4.1.1).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// Whether both sides hold the same secret.
    pub fn is_hmac(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    /// Whether the key is an RSA key.
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512)
    }

    /// The length in bytes that an HMAC secret must at least have: that of the hash (RFC 7518 section 3.2).
    pub fn least_secret(self) -> Option<usize> {
        match self {
            Self::HS256 => Some(32),
            Self::HS384 => Some(48),
            Self::HS512 => Some(64),
            Self::RS256
            | Self::RS384
            | Self::RS512
            | Self::PS256
            | Self::PS384
            | Self::PS512
            | Self::ES256
            | Self::ES384
            | Self::ES512
            | Self::EdDSA => None,
        }
    }
}

/// The secret that an issuer without public keys signs with.
#[derive(Clone)]
pub struct HmacSecret(Jwk);

impl HmacSecret {
    /// Takes the secret's bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Jwk::secret(bytes))
    }

    /// The one key; a token's `kid` does not count.
    pub fn key(&self) -> &Jwk {
        &self.0
    }
}

impl PartialEq for HmacSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.thumbprint() == other.0.thumbprint()
    }
}

impl fmt::Debug for HmacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSecret")
    }
}

/// The JOSE header of a token (RFC 7515 section 4).
#[derive(Debug, Clone, PartialEq)]
pub struct Header(Object);

impl Header {
    /// The longest `kid` that is looked up, in bytes.
    pub const MAX_KID: usize = 256;

    fn new(object: Object) -> Result<Self, &'static str> {
        if object.has("enc") {
            return Err("is encrypted (its header has `enc`), and nothing is decrypted here");
        }
        for member in ["typ", "cty", "kid"] {
            if object.get(member).is_some_and(|value| value.as_str().is_none()) {
                return Err("has a `typ`, `cty` or `kid` that is not a string");
            }
        }
        let header = Self(object);
        if header.text("cty").is_some_and(|cty| media_type(cty) == "jwt") {
            return Err("is a nested JWT (`cty` is JWT)");
        }
        if header.kid().is_some_and(|kid| kid.len() > Self::MAX_KID || kid.chars().any(char::is_control)) {
            return Err("has a `kid` of more than 256 bytes or with control characters");
        }
        Ok(header)
    }

    /// The member of that name.
    pub fn get(&self, member: &str) -> Option<&Json> {
        self.0.get(member)
    }

    /// How many bytes of memory it holds.
    pub fn held_bytes(&self) -> usize {
        self.0.held_bytes()
    }

    /// The members in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter()
    }

    fn text(&self, member: &str) -> Option<&str> {
        self.get(member).and_then(Json::as_str)
    }

    /// `kid`, compared as bytes and nothing else (RFC 7515 section 4.1.4).
    pub fn kid(&self) -> Option<&str> {
        self.text("kid")
    }

    /// `alg`, where it names an algorithm that is known here.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.text("alg").and_then(Algorithm::named)
    }

    /// `alg` as it was sent.
    pub fn algorithm_text(&self) -> Option<&str> {
        self.text("alg")
    }

    /// `typ` in lower case and without `application/` (RFC 7515 section 4.1.9).
    pub fn media_type(&self) -> Option<Cow<'_, str>> {
        self.text("typ").map(media_type)
    }
}

/// A media type as `typ` and `cty` are compared: in lower case, without `application/` (RFC 7515 section 4.1.9).
pub fn media_type(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(media_type(&text.to_ascii_lowercase()).into_owned());
    }
    Cow::Borrowed(text.strip_prefix("application/").unwrap_or(text))
}

/// What a token holds, signed or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// The JOSE header.
    pub header: Header,
    /// The claims.
    pub claims: Claims,
}

impl Contents {
    /// Refuses what demands an extension: any `crit` at all, `b64` other than true, `zip` other than `NONE`
    /// (RFC 7515 section 4.1.11, RFC 7797 section 3; ForgeRock writes `zip: NONE`).
    ///
    /// # Errors
    ///
    /// `extension_refused`.
    pub fn extensions(&self) -> Result<(), Reject> {
        let header = &self.header;
        if header.get("crit").is_some() {
            return Err(Reject::ExtensionRefused { member: "crit" });
        }
        if header.get("b64").is_some_and(|value| *value != Json::Bool(true)) {
            return Err(Reject::ExtensionRefused { member: "b64" });
        }
        if header.get("zip").is_some_and(|value| value.as_str() != Some("NONE")) {
            return Err(Reject::ExtensionRefused { member: "zip" });
        }
        Ok(())
    }
}

/// Whether a token has the three parts of a signed JWT, or the five of an encrypted one (RFC 7516 section 7.1): whatever else
/// is wrong with it, it is not opaque, and is not sent to an issuer to be looked up.
pub fn is_shaped(token: &str) -> bool {
    let dots = token.bytes().filter(|byte| *byte == b'.').take(5).count();
    matches!(dots, 2 | 4)
}

/// A token that could be read and that nobody has vouched for yet.
pub struct UnverifiedJwt<'t> {
    input: &'t [u8],
    signature: Vec<u8>,
    contents: Contents,
}

impl<'t> UnverifiedJwt<'t> {
    /// Reads a token by the rules above.
    ///
    /// # Errors
    ///
    /// `token_malformed`.
    pub fn parse(token: &'t str) -> Result<Self, Reject> {
        Self::read(token).map_err(|what| Reject::TokenMalformed { what })
    }

    fn read(token: &'t str) -> Result<Self, &'static str> {
        let mut parts = token.splitn(6, '.');
        let (Some(header), Some(payload), Some(signature), fourth) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("is not a JWT of three parts");
        };
        if fourth.is_some() {
            let encrypted = parts.next().is_some() && parts.next().is_none();
            return Err(if encrypted {
                "is encrypted (five parts), and nothing is decrypted here"
            } else {
                "is not a JWT of three parts"
            });
        }
        if header.is_empty() || payload.is_empty() {
            return Err("has an empty part");
        }
        let header_bytes = decode(header)?;
        let payload_bytes = decode(payload)?;
        let signature = decode(signature)?;
        let header_object = Object::parse_strict(&header_bytes).map_err(|why| in_part(Part::Header, why))?;
        let claims = Object::parse_strict(&payload_bytes).map_err(|why| in_part(Part::Payload, why))?;
        Ok(Self {
            input: &token.as_bytes()[..header.len() + 1 + payload.len()],
            signature,
            contents: Contents { header: Header::new(header_object)?, claims: Claims::new(claims, Source::Token) },
        })
    }

    /// What the token says, unverified: good for refusals and for choosing a key, and for nothing else.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Checks the signature with the keys that its `kid` and `alg` selected.
    ///
    /// # Errors
    ///
    /// `signature_invalid` where none of them verifies it.
    pub fn verify(self, issuer: &Issuer, keys: &[&Jwk]) -> Result<SignedClaims, Reject> {
        let key = self
            .contents
            .header
            .algorithm()
            .and_then(|algorithm| keys.iter().find(|key| key.verifies(algorithm, self.input, &self.signature)));
        match key {
            Some(key) => Ok(SignedClaims { contents: self.contents, key: key.thumbprint() }),
            None => Err(Reject::SignatureInvalid {
                issuer: issuer.name.clone(),
                nonce: self.contents.header.get("nonce").is_some(),
            }),
        }
    }
}

/// What an issuer signed: made by [`UnverifiedJwt::verify`] alone.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedClaims {
    contents: Contents,
    key: Thumbprint,
}

impl SignedClaims {
    /// What was signed. Its time, audience and the rest are not judged by that.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The key that verified it.
    pub fn key(&self) -> Thumbprint {
        self.key
    }
}

fn decode(part: &str) -> Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| "has a part that is not strict base64url")
}

#[derive(Clone, Copy)]
enum Part {
    Header,
    Payload,
}

/// Names the part in what [`Object::parse_strict`] said, without building text from what was sent.
fn in_part(part: Part, why: &'static str) -> &'static str {
    match (part, why) {
        (Part::Header, "repeats a member name") => "has a header that repeats a member name",
        (Part::Header, "is nested too deeply") => "has a header that is nested too deeply",
        (Part::Header, _) => "has a header that is not one JSON object",
        (Part::Payload, "repeats a member name") => "has a payload that repeats a claim",
        (Part::Payload, "is nested too deeply") => "has a payload that is nested too deeply",
        (Part::Payload, _) => "has a payload that is not one JSON object",
    }
}

/// The token's algorithm as a refusal quotes it.
pub(super) fn quoted_algorithm(header: &Header) -> Option<Quoted> {
    header.algorithm_text().map(Quoted::from)
}
