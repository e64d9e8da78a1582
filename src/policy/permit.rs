//! What a token must say, and the verdict.
//!
//! A [`Permit`] is made by [`Route::permit`] alone, and forwarding asks for one.

use http::HeaderMap;
use serde_json::Number;

use super::claims::{ClaimPath, Claims, Source, malformed};
use super::cors::{CrossOrigin, Preflight};
use super::credential::{Absence, Credential};
use super::decision::{self, PolicyCase};
use super::issuer::{Issuer, IssuerId};
use super::json::Json;
use super::policies::Policies;
use super::principal::Principal;
use super::reject::{Code, Quoted, Reject};
use super::request::RequestView;
use super::route::{Access, Route};
use super::site::Site;

/// What a token must say.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Its name in the configuration.
    pub name: String,
    /// Whose tokens it takes.
    pub issuers: Vec<IssuerId>,
    /// The audiences of which a token must have one; none: `client_ids` stands in for them.
    pub audience: Vec<String>,
    /// Scopes that are all needed.
    pub scopes: Vec<String>,
    /// Scopes of which one is needed; none: no such need.
    pub any_scope: Vec<String>,
    /// Claims that must have one of some values.
    pub claims: Vec<Requirement>,
    /// The clients that may call; none: any.
    pub client_ids: Vec<String>,
    /// Whether a request without any credential is let through. A bad one never is.
    pub anonymous: bool,
    /// What its refusals come to.
    pub mode: Mode,
}

/// What the refusals of a policy come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are answers.
    #[default]
    Enforce,
    /// They are let through, counted and logged.
    Shadow,
}

impl Mode {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// A claim that must have one of some values; where it is an array, it must hold one.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    /// The claim.
    pub claim: ClaimPath,
    /// The values of which one will do.
    pub any_of: Vec<Scalar>,
}

/// A value that a claim is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Compared byte for byte.
    String(String),
    /// Compared by value.
    Number(Number),
    /// Compared by value.
    Bool(bool),
}

impl Scalar {
    fn is_type_of(&self, value: &Json) -> bool {
        match self {
            Self::String(_) => matches!(value, Json::String(_)),
            Self::Number(_) => matches!(value, Json::Number(_)),
            Self::Bool(_) => matches!(value, Json::Bool(_)),
        }
    }

    fn equals(&self, value: &Json) -> bool {
        match (self, value) {
            (Self::String(wanted), Json::String(found)) => wanted == found,
            (Self::Number(wanted), Json::Number(found)) => same_number(wanted, found),
            (Self::Bool(wanted), Json::Bool(found)) => wanted == found,
            (Self::String(_) | Self::Number(_) | Self::Bool(_), _) => false,
        }
    }
}

/// By value: `1` is `1.0`. Whole numbers are compared exactly: as doubles, two long ids could be one.
fn same_number(one: &Number, other: &Number) -> bool {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one == other,
        (Some(_), None) | (None, Some(_)) | (None, None) => one.as_f64() == other.as_f64(),
    }
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::String(value) => f.write_str(value),
            Self::Number(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl Requirement {
    /// The claim is absent, or of the type it is compared with, or an array of such.
    pub(super) fn well_formed(&self, claims: &Claims) -> Result<(), Reject> {
        let comparable = |value: &Json| self.any_of.iter().any(|wanted| wanted.is_type_of(value));
        let good = match self.claim.find(claims) {
            None => true,
            Some(Json::Array(items)) => items.iter().all(comparable),
            Some(value) => comparable(value),
        };
        if good {
            Ok(())
        } else {
            Err(malformed(&self.claim.to_string(), "is not of the type the policy compares it with"))
        }
    }

    fn holds(&self, claims: &Claims) -> bool {
        let equals = |value: &Json| self.any_of.iter().any(|wanted| wanted.equals(value));
        match self.claim.find(claims) {
            None => false,
            Some(Json::Array(items)) => items.iter().any(equals),
            Some(value) => equals(value),
        }
    }
}

impl Policy {
    /// One value of `aud` equals one of the policy's, byte for byte. Where the token's kind depends on the audience, the
    /// id of a client never counts as one, and a policy without audiences permits nobody.
    pub(super) fn judge_audience(&self, claims: &Claims, issuer: &Issuer) -> Result<(), Reject> {
        let by_audience = issuer.is_judged_by_audience();
        if self.audience.is_empty() && !by_audience {
            return Ok(());
        }
        let counts = |wanted: &str| !(by_audience && issuer.is_known_client(wanted));
        // We asked for this token ourselves, and nobody but the API behind can read for whom it is.
        if claims.source() == Source::Granted && self.audience.iter().any(|wanted| counts(wanted)) {
            return Ok(());
        }
        let found = claims.audience()?;
        let matching = || self.audience.iter().filter(|wanted| found.contains(wanted));
        if matching().any(|wanted| counts(wanted)) {
            return Ok(());
        }
        Err(Reject::AudienceWrong {
            found: found.iter().map(Quoted::from).collect(),
            wanted: self.audience.clone(),
            known_client: matching().next().is_some(),
        })
    }

    /// The token's client is one of the policy's, where it names any.
    pub(super) fn judge_client(&self, claims: &Claims, issuer: &Issuer) -> Result<(), Reject> {
        if self.client_ids.is_empty() {
            return Ok(());
        }
        let found = issuer.client(claims)?;
        if found.is_some_and(|found| self.client_ids.iter().any(|client| client == found)) {
            return Ok(());
        }
        Err(Reject::ClientRefused { found: found.map(Quoted::from), allowed: self.client_ids.clone() })
    }

    /// All of `scopes`, and one of `any_scope`.
    pub(super) fn judge_scopes(&self, claims: &Claims, issuer: &Issuer) -> Result<(), Reject> {
        let found = issuer.scopes(claims)?;
        let refusal = |required: &[String], all| Reject::ScopeInsufficient {
            required: required.to_vec(),
            all,
            found: found.iter().map(Quoted::from).collect(),
        };
        if !self.scopes.iter().all(|scope| found.contains(scope)) {
            return Err(refusal(&self.scopes, true));
        }
        if !self.any_scope.is_empty() && !self.any_scope.iter().any(|scope| found.contains(scope)) {
            return Err(refusal(&self.any_scope, false));
        }
        Ok(())
    }

    /// Every named claim has one of its values.
    pub(super) fn judge_claims(&self, claims: &Claims) -> Result<(), Reject> {
        match self.claims.iter().find(|requirement| !requirement.holds(claims)) {
            None => Ok(()),
            Some(requirement) => Err(Reject::ClaimInsufficient {
                claim: requirement.claim.to_string(),
                wanted: requirement.any_of.iter().map(ToString::to_string).collect(),
            }),
        }
    }
}

/// What a request presented, once it was authenticated.
#[derive(Debug, Clone)]
pub enum Presented<'r> {
    /// No credential that counts.
    Nothing(Absence),
    /// A proven caller.
    Caller(Principal<'r>),
}

/// What becomes of a preflight.
#[derive(Debug)]
pub enum Preflighted<'r> {
    /// The gateway answers it, with these fields.
    Answered(HeaderMap),
    /// The upstream does.
    Forwarded(Permit<'r>),
}

/// The verdict that a request may pass: made by [`Route::permit`], and by [`Route::preflight`] of what nobody can send a
/// credential with.
#[derive(Debug, Clone)]
pub struct Permit<'r> {
    route: &'r Route,
    grounds: Grounds<'r>,
}

/// Why a request may pass.
#[derive(Debug, Clone)]
pub enum Grounds<'r> {
    /// Nobody needs to be known: the route is public, anonymous callers are let in, or it is a preflight.
    Anonymous,
    /// The caller is one that a policy permits.
    Caller(Principal<'r>),
    /// It may not, but a policy in shadow mode only tells that: this is the refusal. Whoever called is not believed.
    Shadow(Reject),
}

impl<'r> Permit<'r> {
    /// The route it is for.
    pub fn route(&self) -> &'r Route {
        self.route
    }

    /// Why it was given.
    pub fn grounds(&self) -> &Grounds<'r> {
        &self.grounds
    }

    /// Who was permitted; nobody where the request passes on other grounds.
    pub fn principal(&self) -> Option<&Principal<'r>> {
        match &self.grounds {
            Grounds::Caller(principal) => Some(principal),
            Grounds::Anonymous | Grounds::Shadow(_) => None,
        }
    }
}

impl Route {
    /// Takes the credential of a request, where this route looks at one at all.
    ///
    /// # Errors
    ///
    /// `credential_ambiguous`, `credential_malformed`, `session_expired` or `csrf_refused`.
    pub fn credential<'a>(&self, request: &RequestView<'a>, sites: &[Site]) -> Result<Credential<'a>, Reject> {
        match &self.access {
            Access::Public => Ok(Credential::None(Absence::Entire)),
            Access::Policies(_) => Credential::of(request, self.session.and_then(|id| sites.get(id.0))),
        }
    }

    /// What becomes of a request that is a real preflight, where this route takes preflights: it is not judged.
    pub fn preflight(&self, request: &RequestView<'_>) -> Option<Preflighted<'_>> {
        match &self.cross_origin {
            CrossOrigin::Ignored => None,
            CrossOrigin::Answered(cors) => {
                Preflight::of(request).map(|preflight| Preflighted::Answered(cors.answer(&preflight)))
            }
            CrossOrigin::Forwarded => Preflight::of(request)
                .map(|_| Preflighted::Forwarded(Permit { route: self, grounds: Grounds::Anonymous })),
        }
    }

    /// Judges what came of authenticating a request by this route's policies.
    ///
    /// In shadow mode every refusal from the credential on passes, but for a defect of ours.
    ///
    /// # Errors
    ///
    /// The refusal that is told, by the rules of [`policies`](super::policies).
    pub fn permit<'r>(&'r self, presented: Result<Presented<'r>, Reject>) -> Result<Permit<'r>, Reject> {
        let grounds = match &self.access {
            Access::Public => Grounds::Anonymous,
            Access::Policies(policies) => match presented.and_then(|presented| self.judge(policies, presented)) {
                Ok(grounds) => grounds,
                Err(reject) if policies.is_shadow() && reject.code() != Code::Internal => Grounds::Shadow(reject),
                Err(reject) => return Err(reject),
            },
        };
        Ok(Permit { route: self, grounds })
    }

    fn judge<'r>(&self, policies: &Policies, presented: Presented<'r>) -> Result<Grounds<'r>, Reject> {
        let principal = match presented {
            Presented::Nothing(absence) => {
                return policies.admit(absence, self.login.as_deref()).map(|()| Grounds::Anonymous);
            }
            Presented::Caller(principal) => principal,
        };
        let (claims, issuer) = (principal.claims(), principal.issuer());
        Policies::settle(policies.taking(principal.issuer_id()).map(|policy| {
            let case = PolicyCase { claims, issuer, policy, told: &self.identity_headers };
            decision::walk_policy(decision::BY_POLICY, &case)
        }))?;
        Ok(Grounds::Caller(principal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value_and_long_ones_exactly() {
        let number = |text: &str| Json::parse(text.as_bytes()).unwrap();
        for (wanted, found, expected) in [
            ("1", "1", true),
            ("1", "1.0", true),
            ("1.5", "1.5", true),
            ("1", "2", false),
            ("-1", "1", false),
            ("9007199254740993", "9007199254740993", true),
            ("9007199254740993", "9007199254740992", false),
            ("9223372036854775807", "9223372036854775808", false),
        ] {
            let Json::Number(wanted) = number(wanted) else { unreachable!() };
            assert_eq!(Scalar::Number(wanted.clone()).equals(&number(found)), expected, "{wanted}, {found}");
        }
    }
}
