//! From a credential to a proven caller: the one step of the decision that may wait.
//!
//! A known key is never waited for. A token whose key is not in the issuer's set waits for one shared fetch, at most as
//! long as [`crate::remote::jwks::PATIENCE`]; the rules that can refuse without a key have been walked by then. A token whose
//! signature was verified before is judged by the same rules in the same order, and only spared that.

use std::sync::Arc;

use super::Gateway;
use crate::policy::claims::NumericDate;
use crate::policy::credential::{Absence, Credential};
use crate::policy::decision::{BEFORE_KEY, TokenCase, walk_token};
use crate::policy::issuer::IssuerId;
use crate::policy::jwt::{self, UnverifiedJwt};
use crate::policy::permit::Presented;
use crate::policy::principal::Principal;
use crate::policy::reject::Reject;
use crate::policy::request::RequestView;
use crate::policy::route::{Access, Route};
use crate::telemetry::labels::CacheResult;

/// Whose token it is, as far as that was found: for metrics also of refusals.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claimed {
    /// The issuer whose exact `iss` the token has.
    pub issuer: Option<IssuerId>,
    /// Whether that issuer's signature was verified.
    pub verified: bool,
}

/// Takes the credential of a request to `route` and proves its caller; tells `claimed` whose token it is on the way.
///
/// # Errors
///
/// The first refusal in the order of the decision, from the credential to the token's proof.
pub async fn authenticate<'r>(
    gateway: &'r Gateway,
    route: &Route,
    request: &RequestView<'_>,
    now: NumericDate,
    claimed: &mut Claimed,
) -> Result<Presented<'r>, Reject> {
    let (token, policies) = match (route.credential(request)?, &route.access) {
        (Credential::None(absence), _) => return Ok(Presented::Nothing(absence)),
        (Credential::Bearer(_), Access::Public) => return Ok(Presented::Nothing(Absence::Entire)),
        (Credential::Bearer(token), Access::Policies(policies)) => (token, policies),
    };
    let (rules, keys) = (gateway.in_force.rules(), gateway.in_force.keys());
    let (verified, metrics) = (gateway.shared.verified(), &gateway.shared.telemetry().metrics);
    rules.size(token)?;
    if let Some((id, issuer)) = rules.introspecting(policies).filter(|_| !jwt::is_shaped(token)) {
        claimed.issuer = Some(id);
        let introspector =
            gateway.in_force.introspector(id).ok_or(Reject::Internal { why: "nobody asks this issuer" })?;
        let answer = introspector.ask(token).await?;
        claimed.verified = answer.is_active();
        return Principal::vouched(answer, (id, issuer), now).map(Presented::Caller);
    }
    if let Some((id, signed)) = verified.find(token, keys, &rules.issuers) {
        metrics.verified_cache(CacheResult::Hit);
        // No policy of this route may take this issuer's tokens, though another route's did.
        let issuer = rules.issuer(policies, &signed.contents().claims)?;
        *claimed = Claimed { issuer: Some(id), verified: true };
        return Principal::prove(signed, issuer, now).map(Presented::Caller);
    }
    metrics.verified_cache(CacheResult::Miss);
    let jwt = UnverifiedJwt::parse(token)?;
    jwt.contents().extensions()?;
    let (id, issuer) = rules.issuer(policies, &jwt.contents().claims)?;
    claimed.issuer = Some(id);
    walk_token(BEFORE_KEY, &TokenCase { contents: jwt.contents(), issuer, now })?;
    let signed = Arc::new(keys.verify((id, issuer), jwt).await?);
    claimed.verified = true;
    verified.remember(token, &signed);
    Principal::prove(signed, (id, issuer), now).map(Presented::Caller)
}
