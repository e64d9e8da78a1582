//! The policies of a route, and what several of them come to.
//!
//! 1. The first that permits wins. Without any credential that is one which lets anonymous callers in; with a proven
//!    caller it is one that takes the caller's issuer and whose every rule holds.
//! 2. If none permits, the refusal that came furthest in the order of the decision is told; of several that came equally
//!    far, that of the policy named first.
//! 3. If one of them is in shadow mode, the request passes all the same, and its permit carries that refusal.
//!
//! All but the policies' own rules is judged once, whatever their number: a token has one issuer and one signature.

use std::sync::Arc;

use super::credential::Absence;
use super::decision::Refused;
use super::issuer::IssuerId;
use super::permit::{Mode, Policy};
use super::reject::{Reject, Wanted};

/// The policies of a route. Without any, nobody passes.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    all: Box<[Arc<Policy>]>,
    issuers: Box<[IssuerId]>,
    anonymous: bool,
    shadow: bool,
}

impl Policies {
    /// These policies, in this order.
    pub fn new(all: Vec<Arc<Policy>>) -> Self {
        let mut issuers: Vec<IssuerId> = Vec::new();
        for issuer in all.iter().flat_map(|policy| &policy.issuers) {
            if !issuers.contains(issuer) {
                issuers.push(*issuer);
            }
        }
        Self {
            issuers: issuers.into(),
            anonymous: all.iter().any(|policy| policy.anonymous),
            shadow: all.iter().any(|policy| policy.mode == Mode::Shadow),
            all: all.into(),
        }
    }

    /// All of them, in the order of the configuration.
    pub fn all(&self) -> &[Arc<Policy>] {
        &self.all
    }

    /// Whose tokens at least one of them takes.
    pub fn issuers(&self) -> &[IssuerId] {
        &self.issuers
    }

    /// Those that take the tokens of this issuer.
    pub fn taking(&self, issuer: IssuerId) -> impl Iterator<Item = &Arc<Policy>> {
        self.all.iter().filter(move |policy| policy.issuers.contains(&issuer))
    }

    /// Whether a refusal is let through, and only told.
    pub fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// Judges a request without a credential that counts, to a route where a browser may log in at the address `login`.
    ///
    /// Anonymous is only who sent none at all: of another scheme, or in the query, it is a bad one, since whoever sent it
    /// does not mean to be anonymous, and the upstream might take it for checked.
    ///
    /// # Errors
    ///
    /// `credential_missing`.
    pub fn admit(&self, absence: Absence, login: Option<&str>) -> Result<(), Reject> {
        let anonymous = self.anonymous && absence == Absence::Entire;
        if anonymous {
            return Ok(());
        }
        let wanted = login.map_or(Wanted::Token, |address| Wanted::TokenOrLogin(address.to_owned()));
        Err(Reject::CredentialMissing { found: absence.about(), wanted })
    }

    /// What the verdicts of single policies, in their order, come to; no more of them are asked for than is needed.
    ///
    /// # Errors
    ///
    /// The refusal that is told.
    pub fn settle(verdicts: impl Iterator<Item = Result<(), Refused>>) -> Result<(), Reject> {
        let mut furthest: Option<Refused> = None;
        for verdict in verdicts {
            let Err(refused) = verdict else { return Ok(()) };
            if furthest.as_ref().is_none_or(|furthest| refused.step > furthest.step) {
                furthest = Some(refused);
            }
        }
        // A token whose issuer no policy of the route takes never comes here.
        Err(furthest.map_or(Reject::Internal { why: "no policy judged the caller" }, |refused| refused.reject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::reject::Step;

    #[test]
    fn the_refusal_that_came_furthest_is_told() {
        let refused = |step, found: &'static str| {
            Err(Refused { step, reject: Reject::CredentialMissing { found, wanted: Wanted::Token } })
        };
        for (verdicts, expected) in [
            (vec![Ok(())], Ok(())),
            (vec![refused(Step::Claims, "a"), Ok(())], Ok(())),
            (vec![refused(Step::Audience, "a")], Err("a")),
            (vec![refused(Step::Audience, "a"), refused(Step::Scopes, "b")], Err("b")),
            (vec![refused(Step::Scopes, "a"), refused(Step::Audience, "b")], Err("a")),
            (vec![refused(Step::Scopes, "a"), refused(Step::Scopes, "b"), refused(Step::Client, "c")], Err("a")),
        ] {
            let expected = expected.map_err(|found| Reject::CredentialMissing { found, wanted: Wanted::Token });
            assert_eq!(Policies::settle(verdicts.into_iter()), expected);
        }
    }

    #[test]
    fn nothing_is_asked_once_one_permits() {
        let mut asked = 0;
        let verdicts = std::iter::repeat_with(|| {
            asked += 1;
            Ok(())
        });
        assert_eq!((Policies::settle(verdicts), asked), (Ok(()), 1));
    }

    #[test]
    fn without_a_policy_nobody_passes() {
        let none = Policies::default();
        assert!(none.admit(Absence::Entire, None).is_err() && none.issuers().is_empty() && !none.is_shadow());
        assert!(Policies::settle(std::iter::empty()).is_err());
    }
}
