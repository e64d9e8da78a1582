//! Who makes the request: an issuer's signed claims, in time, of the right kind, and not bound to a key.

use std::sync::Arc;

use super::claims::{Claims, NumericDate};
use super::decision::{self, TokenCase};
use super::issuer::{Issuer, IssuerId};
use super::jwt::SignedClaims;
use super::kind::{self, TokenKind};
use super::reject::Reject;

/// A proven caller: made by [`Principal::prove`] alone.
#[derive(Debug, Clone)]
pub struct Principal<'r> {
    signed: Arc<SignedClaims>,
    issuer: (IssuerId, &'r Issuer),
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
        Ok(Self { signed, issuer })
    }

    /// Who signed.
    pub fn issuer(&self) -> &'r Issuer {
        self.issuer.1
    }

    /// The place of who signed.
    pub fn issuer_id(&self) -> IssuerId {
        self.issuer.0
    }

    /// What was signed.
    pub fn claims(&self) -> &Claims {
        &self.signed.contents().claims
    }

    /// Whether it is no access token and passed by the issuer's `accept_id_tokens` alone.
    pub fn is_by_id_token(&self) -> bool {
        self.issuer().accept_id_tokens
            && kind::classify(self.signed.contents(), self.issuer()).kind != TokenKind::Access
    }
}
