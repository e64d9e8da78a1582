//! From a credential to a proven caller: the one step of the decision that may wait.
//!
//! A known key is never waited for. A token whose key is not in the issuer's set waits for one shared fetch, at most as
//! long as [`crate::remote::jwks::PATIENCE`]; the rules that can refuse without a key have been walked by then. A token whose
//! signature was verified before is judged by the same rules in the same order, and only spared that.
//!
//! A session's cookie stands for the access token that the session has, which is then judged like any other.

use std::sync::Arc;
use std::time::Instant;

use super::Gateway;
use super::sessions::Live;
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
use crate::policy::trace::Recorded;
use crate::telemetry::labels::CacheResult;

/// Whose token it is, as far as that was found: for metrics also of refusals.
#[derive(Debug, Default)]
pub struct Claimed {
    /// The issuer whose exact `iss` the token has.
    pub issuer: Option<IssuerId>,
    /// Whether that issuer's signature was verified.
    pub verified: bool,
    /// The session that it is of, once that was opened and has a token that is good.
    pub session: Option<Arc<Live>>,
}

/// Takes the credential of a request to `route` and proves its caller; tells `claimed` whose token it is on the way. What
/// an issuer is asked for it is told in its trace, where that is `recorded`.
///
/// # Errors
///
/// The first refusal in the order of the decision, from the credential to the token's proof; `overloaded` where there is no
/// time to check its signature.
pub async fn authenticate<'r>(
    gateway: &'r Gateway,
    route: &Route,
    request: &RequestView<'_>,
    recorded: Option<Recorded>,
    now: NumericDate,
    claimed: &mut Claimed,
) -> Result<Presented<'r>, Reject> {
    let (rules, keys) = (gateway.in_force.rules(), gateway.in_force.keys());
    let credential = route.credential(request, &rules.sites)?;
    let Access::Policies(policies) = &route.access else { return Ok(Presented::Nothing(Absence::Entire)) };
    let token = match credential {
        Credential::None(absence) => return Ok(Presented::Nothing(absence)),
        Credential::Bearer(token) => token,
        Credential::Session(cookie) => {
            let party = route.session.and_then(|id| gateway.in_force.relying_party(id));
            let party = party.ok_or(Reject::Internal { why: "a session is not in force" })?;
            let live = party.open(cookie, gateway.shared.call_span(recorded)).await?;
            let live = &*claimed.session.insert(live);
            if let Some(caller) = party.by_grant(live, policies, rules) {
                claimed.issuer = Some(party.issuer());
                return Ok(Presented::Caller(caller));
            }
            live.session.access_token.text.as_str()
        }
    };
    let (verified, metrics) = (gateway.shared.verified(), &gateway.shared.telemetry().metrics);
    rules.size(token)?;
    if let Some((id, issuer)) = rules.introspecting(policies).filter(|_| !jwt::is_shaped(token)) {
        claimed.issuer = Some(id);
        let introspector =
            gateway.in_force.introspector(id).ok_or(Reject::Internal { why: "nobody asks this issuer" })?;
        let answer = introspector.ask(token, gateway.shared.call_span(recorded)).await?;
        claimed.verified = answer.is_active();
        return Principal::vouched(answer, (id, issuer), now).map(Presented::Caller);
    }
    if let Some((id, signed)) = verified.find(token, keys, &rules.issuers) {
        metrics.verified_cache(CacheResult::Hit);
        // No policy of this route may take this issuer's tokens, though another route's did.
        let issuer = rules.issuer(policies, &signed.contents().claims)?;
        (claimed.issuer, claimed.verified) = (Some(id), true);
        return Principal::prove(signed, issuer, now).map(Presented::Caller);
    }
    metrics.verified_cache(CacheResult::Miss);
    let jwt = UnverifiedJwt::parse(token)?;
    jwt.contents().extensions()?;
    let (id, issuer) = rules.issuer(policies, &jwt.contents().claims)?;
    claimed.issuer = Some(id);
    walk_token(BEFORE_KEY, &TokenCase { contents: jwt.contents(), issuer, now })?;
    gateway.load.admits_signature(Instant::now())?;
    let signed = Arc::new(keys.verify((id, issuer), jwt).await?);
    claimed.verified = true;
    verified.remember(token, &signed);
    Principal::prove(signed, (id, issuer), now).map(Presented::Caller)
}
