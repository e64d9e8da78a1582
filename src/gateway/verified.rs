//! Proven tokens: a signature that was verified is not verified again.
//!
//! 1. A token is found by a hash that is seeded at random, and then compared whole: a collision admits nobody.
//! 2. What is remembered is what was signed and by which key, never a verdict: issuer, kind, algorithm, time, proof and the
//!    policy are judged again on every hit, by the same rules as on a miss, under the configuration of the request.
//! 3. A hit counts only while the issuer's current set would choose that key for the token, as it would on a miss; so a key
//!    that leaves takes its tokens with it.
//! 4. The memory is bounded in bytes; what was used least goes first.

use std::collections::hash_map::RandomState;
use std::sync::Arc;

use moka::sync::Cache;

use crate::policy::issuer::{Issuer, IssuerId};
use crate::policy::jwt::{Contents, SignedClaims};
use crate::remote::jwks::KeySets;

/// What a token takes: its text, what it says (short claims in great number take many times their text), and the entry
/// itself, some hundred bytes.
fn weight(token: &str, signed: &SignedClaims) -> u32 {
    let Contents { header, claims } = signed.contents();
    u32::try_from(token.len() + header.held_bytes() + claims.held_bytes() + 512).unwrap_or(u32::MAX)
}

/// The tokens that were proven, by their text.
pub(super) struct Verified(Cache<Arc<str>, Arc<SignedClaims>>);

impl Verified {
    /// Tokens that take so many bytes at the most, with what they say.
    pub(super) fn within(bytes: u64) -> Self {
        Self(
            Cache::builder()
                .max_capacity(bytes)
                .weigher(|token: &Arc<str>, signed: &Arc<SignedClaims>| weight(token, signed))
                .build_with_hasher(RandomState::new()),
        )
    }

    /// What that token says, where its signature was verified with a key that its issuer still has.
    pub(super) fn find(
        &self,
        token: &str,
        keys: &KeySets,
        issuers: &[Issuer],
    ) -> Option<(IssuerId, Arc<SignedClaims>)> {
        let signed = self.0.get(token)?;
        let Contents { header, claims } = signed.contents();
        let algorithm = header.algorithm()?;
        // Not the issuer of that time: its place, and whose `iss` this is, may have changed with the configuration.
        let iss = claims.issuer().ok()?;
        let (place, issuer) = issuers.iter().enumerate().find(|(_, issuer)| issuer.is_called(iss))?;
        let id = IssuerId(place);
        let still_there = match &issuer.hmac_secret {
            Some(secret) => secret.key().thumbprint() == signed.key() && secret.key().fits(algorithm),
            None => keys.current(id)?.has(signed.key(), header.kid(), algorithm),
        };
        still_there.then_some((id, signed))
    }

    /// Forgets every token.
    pub(super) fn forget(&self) {
        self.0.invalidate_all();
        // It would be done with the next requests otherwise, which is when the memory is needed.
        self.0.run_pending_tasks();
    }

    /// Remembers a token.
    pub(super) fn remember(&self, token: &str, signed: &Arc<SignedClaims>) {
        self.0.insert(token.into(), Arc::clone(signed));
    }
}
