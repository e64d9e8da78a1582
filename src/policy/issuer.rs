//! An issuer we trust, and what of a token only concerns it: its name, the kind of its tokens, algorithm and time.

use super::claims::{Claims, NumericDate, Source, Strings};
use super::dialect::{AccessIf, CLIENT_CLAIMS, Dialect, Discriminator};
use super::introspection::Trust;
use super::jwk::{Jwk, JwkSet, Selection};
use super::jwt::{Algorithm, Contents, HmacSecret, quoted_algorithm};
use super::kind::{self, TokenKind};
use super::reject::{Quoted, Reject};

/// The place of an issuer in [`super::Rules::issuers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuerId(pub usize);

/// A party whose tokens are believed.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// Its name in the configuration, in metrics and in log lines.
    pub name: String,
    /// The exact values of `iss` it signs with, the first one being its own (RFC 8414 section 3.3). Never normalised.
    pub spellings: Vec<String>,
    /// How its access tokens are recognised.
    pub recognition: Recognition,
    /// What it signs with.
    pub algorithms: Vec<Algorithm>,
    /// Seconds by which its clock and ours may differ.
    pub leeway: u64,
    /// Whether its ID tokens open APIs too: for issuers that have no other tokens.
    pub accept_id_tokens: bool,
    /// The claim that holds the scopes, where it is not the dialect's.
    pub scope_claim: Option<String>,
    /// Ids of OAuth clients, which are never an API's audience.
    pub known_clients: Vec<String>,
    /// What it signs with instead of a published key.
    pub hmac_secret: Option<HmacSecret>,
    /// How its answers about opaque tokens are judged, where it is asked about them.
    pub introspection: Option<Trust>,
}

/// How an issuer's access tokens are recognised.
#[derive(Debug, Clone, PartialEq)]
pub enum Recognition {
    /// As its product writes them.
    Dialect(&'static Dialect),
    /// By marks that the operator described.
    Own(AccessIf),
}

impl Recognition {
    /// Marks that the operator described.
    pub fn own(marks: Discriminator) -> Self {
        Self::Own(AccessIf::Marks(marks))
    }

    /// The dialect's name, or `discriminator`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dialect(dialect) => dialect.name,
            Self::Own(_) => "discriminator",
        }
    }

    /// What is believed of its tokens, in one sentence.
    pub fn about(&self) -> &'static str {
        match self {
            Self::Dialect(dialect) => dialect.about,
            Self::Own(_) => "`typ: at+jwt`, or the marks of the configured `discriminator`",
        }
    }

    /// Whether there is any access token of the issuer that is meant for our APIs.
    pub fn is_for_us(&self) -> bool {
        *self.access() != AccessIf::Never
    }

    /// What shows that a token is an access token.
    pub fn access(&self) -> &AccessIf {
        match self {
            Self::Dialect(dialect) => &dialect.access,
            Self::Own(access) => access,
        }
    }
}

impl Issuer {
    /// The longest leeway, in seconds.
    pub const MAX_LEEWAY: u64 = 300;

    /// An issuer of which nothing is known but what the standards say of all: RFC 9068, public keys. It is called nothing.
    pub fn general(name: String) -> Self {
        Self {
            name,
            spellings: Vec::new(),
            recognition: Recognition::Own(AccessIf::AtJwt),
            algorithms: Algorithm::ASYMMETRIC.to_vec(),
            leeway: 0,
            accept_id_tokens: false,
            scope_claim: None,
            known_clients: Vec::new(),
            hmac_secret: None,
            introspection: None,
        }
    }

    /// Whether `iss` is byte for byte one of this issuer's.
    pub fn is_called(&self, iss: &str) -> bool {
        self.spellings.iter().any(|spelling| spelling == iss)
    }

    /// Whether `value` is the id of a client.
    pub fn is_known_client(&self, value: &str) -> bool {
        self.known_clients.iter().any(|client| client == value)
    }

    /// Whether a token's kind depends on its audience, so that a client's id never counts as one.
    pub fn is_judged_by_audience(&self) -> bool {
        self.recognition.access().is_judged_by_audience()
    }

    /// The token's scopes, from the one place where this issuer puts them. In an answer about a token `scope` comes before
    /// what the dialect has (RFC 7662 section 2.2).
    ///
    /// # Errors
    ///
    /// `claims_malformed`.
    pub fn scopes<'c>(&self, claims: &'c Claims) -> Result<Strings<'c>, Reject> {
        let own = match (&self.scope_claim, &self.recognition) {
            (Some(claim), _) => return claims.scopes(&[claim]),
            (None, Recognition::Dialect(dialect)) => dialect.scopes,
            (None, Recognition::Own(_)) => &["scope"],
        };
        match claims.source() {
            Source::Introspection if claims.scopes(&["scope"])? != Strings::Absent => claims.scopes(&["scope"]),
            Source::Introspection | Source::Token => claims.scopes(own),
            Source::Granted => claims.scopes(&["scope"]),
        }
    }

    /// The client the token was issued to: the dialect's claim, else the first of [`CLIENT_CLAIMS`] that is present. In an
    /// answer about a token `client_id` is the first (RFC 7662 section 2.2).
    ///
    /// # Errors
    ///
    /// `claims_malformed` where that claim is no string.
    pub fn client<'c>(&self, claims: &'c Claims) -> Result<Option<&'c str>, Reject> {
        let own = match (claims.source(), &self.recognition) {
            (Source::Token, Recognition::Dialect(dialect)) => dialect.client,
            (Source::Token, Recognition::Own(_)) | (Source::Introspection | Source::Granted, _) => None,
        };
        own.iter().chain(CLIENT_CLAIMS).find(|claim| claims.has(claim)).map_or(Ok(None), |claim| claims.string(claim))
    }

    /// Refuses what is not an access token.
    ///
    /// # Errors
    ///
    /// `id_token_presented`, `refresh_token_presented`, `logout_token_presented` or `token_kind_unknown`.
    pub fn kind(&self, contents: &Contents) -> Result<TokenKind, Reject> {
        let found = kind::classify(contents, self);
        if found.kind == TokenKind::Access {
            return Ok(TokenKind::Access);
        }
        if self.accept_id_tokens && found.could_be_id_token() {
            return Ok(TokenKind::Id);
        }
        Err(Reject::WrongKind {
            kind: found.kind,
            evidence: found.evidence,
            dialect: self.recognition.name(),
            source: contents.claims.source(),
        })
    }

    /// Refuses an algorithm that this issuer does not sign with (RFC 8725 section 3.1).
    ///
    /// # Errors
    ///
    /// `algorithm_refused`.
    pub fn algorithm(&self, contents: &Contents) -> Result<Algorithm, Reject> {
        contents.header.algorithm().filter(|algorithm| self.algorithms.contains(algorithm)).ok_or_else(|| {
            Reject::AlgorithmRefused {
                alg: quoted_algorithm(&contents.header),
                allowed: self.algorithms.iter().map(|algorithm| algorithm.name()).collect(),
            }
        })
    }

    /// Refuses what is not in time: expired when `now >= exp + leeway`, not yet valid when `nbf` or `iat` is later than
    /// `now + leeway` (RFC 7519 sections 4.1.4 to 4.1.6).
    ///
    /// # Errors
    ///
    /// `claims_malformed`, `token_expired` or `token_not_yet_valid`.
    pub fn time(&self, claims: &Claims, now: NumericDate) -> Result<(), Reject> {
        let (leeway, source) = (self.leeway, claims.source());
        let exp = match source {
            Source::Token => Some(claims.expiry()?),
            // RFC 7662 section 2.2: `exp` is optional, and `active` speaks of the time too.
            Source::Introspection | Source::Granted => claims.date("exp")?,
        };
        let starts = [("nbf", claims.date("nbf")?), ("iat", claims.date("iat")?)];
        if let Some(exp) = exp.filter(|exp| now >= exp.plus(leeway)) {
            return Err(Reject::TokenExpired { exp, source, now, leeway });
        }
        for (claim, date) in starts {
            if let Some(at) = date.filter(|at| *at > now.plus(leeway)) {
                return Err(Reject::TokenNotYetValid { claim, at, source, now, leeway });
            }
        }
        Ok(())
    }

    /// The keys of `set` that may have signed this token; none where the set may be too old to have them.
    ///
    /// # Errors
    ///
    /// `algorithm_refused` where the named key is not for the token's algorithm (RFC 8725 section 3.1), `key_unknown` where
    /// the token has no `kid` and several keys could be meant.
    pub fn keys<'s>(&self, set: &'s JwkSet, contents: &Contents) -> Result<Option<Vec<&'s Jwk>>, Reject> {
        match set.select(contents.header.kid(), self.algorithm(contents)?) {
            Selection::Keys(keys) => Ok(Some(keys)),
            Selection::Unknown => Ok(None),
            Selection::Undecided => Err(self.key_unknown(contents, "several of its keys could be meant")),
            Selection::Misfit => Err(Reject::KeyMisfit {
                issuer: self.name.clone(),
                alg: quoted_algorithm(&contents.header),
                kid: contents.header.kid().map(Quoted::from),
            }),
        }
    }

    /// The refusal of a token whose key this issuer does not have.
    pub fn key_unknown(&self, contents: &Contents, why: &'static str) -> Reject {
        Reject::KeyUnknown { issuer: self.name.clone(), kid: contents.header.kid().map(Quoted::from), why }
    }
}
