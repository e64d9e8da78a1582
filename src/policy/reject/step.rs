//! The order of the decision.

/// The steps of the decision, in the one order in which they are taken.
///
/// The order is the same on a cold and on a warm cache, so that one request has one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The request's head: framing, host, target, path.
    Head,
    /// Host, path, then method.
    Route,
    /// The `Authorization` header.
    Credential,
    /// The token's length.
    Size,
    /// The token's form: three parts, strict base64url, strict JSON.
    Shape,
    /// `crit`, `b64`, `zip`.
    Extensions,
    /// `active` in the issuer's answer about an opaque token.
    Introspection,
    /// `iss`, byte for byte.
    Issuer,
    /// Access token, or another kind.
    Kind,
    /// `alg` against the issuer's list.
    Algorithm,
    /// `exp`, `nbf`, `iat`.
    Time,
    /// `kid` in the issuer's key set.
    Key,
    /// The signature over the very bytes that were judged.
    Signature,
    /// `cnf`: a bound token needs its proof.
    Proof,
    /// The types of every other claim that is read.
    Claims,
    /// `aud` against the policy.
    Audience,
    /// The client against the policy.
    Client,
    /// The scopes against the policy.
    Scopes,
    /// Other claims against the policy.
    Requirements,
    /// After the decision: the upstream, or a fault of ours.
    Forward,
}

impl Step {
    /// The step's name, as `explain` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "request head",
            Self::Route => "route",
            Self::Credential => "credential",
            Self::Size => "size",
            Self::Shape => "shape",
            Self::Extensions => "crit",
            Self::Introspection => "introspection",
            Self::Issuer => "issuer",
            Self::Kind => "kind",
            Self::Algorithm => "algorithm",
            Self::Time => "time",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Proof => "proof",
            Self::Claims => "claims well-formed",
            Self::Audience => "audience",
            Self::Client => "client",
            Self::Scopes => "scopes",
            Self::Requirements => "claims",
            Self::Forward => "forward",
        }
    }
}
