//! Who makes the request: what an issuer signed, answered when it was asked, or granted to us; in time, of the right kind,
//! and not bound to a key.

use std::sync::Arc;

use super::claims::{Claims, NumericDate, Source};
use super::decision::{self, AnswerCase, TokenCase};
use super::introspection::Answer;
use super::issuer::{Issuer, IssuerId};
use super::json::Object;
use super::jwt::SignedClaims;
use super::kind::{self, Evidence, TokenKind};
use super::reject::Reject;

/// A proven caller: made by [`Principal::prove`], [`Principal::vouched`] and
/// [`Principal::granted`] alone.
#[derive(Debug, Clone)]
pub struct Principal<'r> {
    proof: Proof,
    issuer: (IssuerId, &'r Issuer),
}

/// What the issuer stands behind.
#[derive(Debug, Clone)]
enum Proof {
    Signed(Arc<SignedClaims>),
    Answered(Arc<Answer>),
    Granted(Arc<Claims>),
}

/// What an issuer granted to a session with an opaque access token.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'a> {
    /// The issuer's own name.
    pub issuer: &'a str,
    /// The client that it was granted to: us.
    pub client_id: &'a str,
    /// Who logged in.
    pub subject: &'a str,
    /// The granted scopes, with blanks between them.
    pub scope: &'a str,
}

impl Grant<'_> {
    fn claims(&self) -> Claims {
        let members =
            [("iss", self.issuer), ("client_id", self.client_id), ("sub", self.subject), ("scope", self.scope)];
        Claims::new(Object::of_strings(members), Source::Granted)
    }
}

impl<'r> Principal<'r> {
    /// Judges signed claims at the time `now`: kind, algorithm and time once more (they may have been remembered), then
    /// whether they are bound to a key.
    ///
    /// # Errors
    ///
    /// The first refusal in the order of the decision.
    pub fn prove(signed: Arc<SignedClaims>, issuer: (IssuerId, &'r Issuer), now: NumericDate) -> Result<Self, Reject> {
        let case = TokenCase { contents: signed.contents(), issuer: issuer.1, now };
        decision::walk_token(decision::BEFORE_KEY, &case)?;
        decision::walk_token(decision::AFTER_SIGNATURE, &case)?;
        Ok(Self { proof: Proof::Signed(signed), issuer })
    }

    /// Judges at the time `now` what the issuer answered about an opaque token: whether it is active, whose and of which kind
    /// it is, its time, and whether it is bound to a key.
    ///
    /// # Errors
    ///
    /// The first refusal in the order of the decision.
    pub fn vouched(answer: Arc<Answer>, issuer: (IssuerId, &'r Issuer), now: NumericDate) -> Result<Self, Reject> {
        decision::walk_answer(decision::BY_ANSWER, &AnswerCase { answer: &answer, issuer: issuer.1, now })?;
        Ok(Self { proof: Proof::Answered(answer), issuer })
    }

    /// Takes what the issuer granted to a session, whose access token is opaque and about which nobody is asked: its scopes,
    /// and that it is ours. That it is in time was seen when the session was opened.
    ///
    /// # Errors
    ///
    /// `token_kind_unknown` where no token of that issuer is meant for our APIs.
    pub fn granted(grant: Grant<'_>, issuer: (IssuerId, &'r Issuer)) -> Result<Self, Reject> {
        let (claims, recognition) = (grant.claims(), &issuer.1.recognition);
        if !recognition.is_for_us() {
            let (kind, evidence) = (TokenKind::Unknown, Evidence::Foreign);
            return Err(Reject::WrongKind { kind, evidence, dialect: recognition.name(), source: claims.source() });
        }
        Ok(Self { proof: Proof::Granted(Arc::new(claims)), issuer })
    }

    /// Who signed, or answered.
    pub fn issuer(&self) -> &'r Issuer {
        self.issuer.1
    }

    /// The place of who signed, or answered.
    pub fn issuer_id(&self) -> IssuerId {
        self.issuer.0
    }

    /// What was signed, or answered.
    pub fn claims(&self) -> &Claims {
        match &self.proof {
            Proof::Signed(signed) => &signed.contents().claims,
            Proof::Answered(answer) => answer.claims(),
            Proof::Granted(claims) => claims,
        }
    }

    /// Whether it is no access token and passed by the issuer's `accept_id_tokens` alone.
    pub fn is_by_id_token(&self) -> bool {
        let issuer = self.issuer();
        match &self.proof {
            Proof::Signed(signed) => {
                issuer.accept_id_tokens && kind::classify(signed.contents(), issuer).kind != TokenKind::Access
            }
            Proof::Answered(_) | Proof::Granted(_) => false,
        }
    }
}
