//! From a credential to a proven caller: the one step of the decision that may wait.
//!
//! A known key is never waited for. A token whose key is not in the issuer's set waits for one shared fetch, at most as
//! long as [`crate::remote::jwks::PATIENCE`]; the rules that can refuse without a key have been walked by then. A token whose
//! signature was verified before is judged by the same rules in the same order, and only spared that.
//!
//! A session's cookie stands for the access token that the session has, which is then judged like any other. Where that was
//! good once and is not any more, the issuer is asked for another one before the browser is refused.

use std::sync::Arc;
use std::time::Instant;

use super::Gateway;
use super::relying_party::RelyingParty;
use super::sessions::Live;
use crate::policy::claims::NumericDate;
use crate::policy::credential::{Absence, Credential};
use crate::policy::decision::{BEFORE_KEY, TokenCase, walk_token};
use crate::policy::issuer::IssuerId;
use crate::policy::jwt::{self, UnverifiedJwt};
use crate::policy::permit::Presented;
use crate::policy::policies::Policies;
use crate::policy::principal::Principal;
use crate::policy::reject::Reject;
use crate::policy::request::RequestView;
use crate::policy::route::{Access, Route};
use crate::policy::trace::Recorded;
use crate::telemetry::labels::CacheResult;
use crate::telemetry::spans::CallSpan;

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
    let credential = route.credential(request, &gateway.in_force.rules().sites)?;
    let Access::Policies(policies) = &route.access else { return Ok(Presented::Nothing(Absence::Entire)) };
    let proving = Proving { gateway, policies, recorded };
    let caller = match credential {
        Credential::None(absence) => return Ok(Presented::Nothing(absence)),
        Credential::Bearer(token) => proving.by_token(token, now, claimed).await,
        Credential::Session(cookie) => {
            let party = route.session.and_then(|id| gateway.in_force.relying_party(id));
            let party = party.ok_or(Reject::Internal { why: "a session is not in force" })?;
            proving.by_cookie(cookie, party, claimed).await
        }
    };
    caller.map(Presented::Caller)
}

/// For whom a caller is proven.
struct Proving<'r, 'p> {
    gateway: &'r Gateway,
    /// Those of the request's route.
    policies: &'p Policies,
    /// The request's trace, where it is recorded.
    recorded: Option<Recorded>,
}

impl<'r> Proving<'r, '_> {
    /// The caller of a session. A token of it that is refused before its end, in a way that another one may cure, is
    /// exchanged for that one, once.
    async fn by_cookie(
        &self,
        cookie: &str,
        party: &RelyingParty,
        claimed: &mut Claimed,
    ) -> Result<Principal<'r>, Reject> {
        let mut live = party.open(cookie, self.span()).await?;
        let mut may_be_cured = true;
        loop {
            let refusal = match self.by_session(&live, party, claimed).await {
                Err(reject) if may_be_cured && reject.is_cured_by_refresh() => reject,
                judged => return judged,
            };
            live = party.sessions.instead(&live, self.span()).await?.ok_or(refusal)?;
            may_be_cured = false;
        }
    }

    /// The caller by the access token that a session has.
    async fn by_session(
        &self,
        live: &Arc<Live>,
        party: &RelyingParty,
        claimed: &mut Claimed,
    ) -> Result<Principal<'r>, Reject> {
        claimed.session = Some(Arc::clone(live));
        // First, of whichever form it is: the order of the decision.
        self.gateway.in_force.rules().size(&live.session.access_token.text)?;
        if let Some(caller) = party.by_grant(live, self.policies, self.gateway.in_force.rules()).transpose() {
            claimed.issuer = Some(party.issuer());
            return caller;
        }
        // It may have been granted after the request came.
        let now = NumericDate::from(self.gateway.shared.clock().wall());
        let caller = self.by_token(&live.session.access_token.text, now, claimed).await?;
        if live.session.is_doubtful() {
            party.sessions.note_taken(live);
        }
        Ok(caller)
    }

    /// The caller by an access token.
    async fn by_token(&self, token: &str, now: NumericDate, claimed: &mut Claimed) -> Result<Principal<'r>, Reject> {
        let gateway = self.gateway;
        let (rules, keys) = (gateway.in_force.rules(), gateway.in_force.keys());
        let (verified, metrics) = (gateway.shared.verified(), &gateway.shared.telemetry().metrics);
        rules.size(token)?;
        if let Some((id, issuer)) = rules.introspecting(self.policies).filter(|_| !jwt::is_shaped(token)) {
            claimed.issuer = Some(id);
            let introspector =
                gateway.in_force.introspector(id).ok_or(Reject::Internal { why: "nobody asks this issuer" })?;
            let answer = introspector.ask(token, self.span()).await?;
            claimed.verified = answer.is_active();
            return Principal::vouched(answer, (id, issuer), now);
        }
        if let Some((id, signed)) = verified.find(token, keys, &rules.issuers) {
            metrics.verified_cache(CacheResult::Hit);
            // No policy of this route may take this issuer's tokens, though another route's did.
            let issuer = rules.issuer(self.policies, &signed.contents().claims)?;
            (claimed.issuer, claimed.verified) = (Some(id), true);
            return Principal::prove(signed, issuer, now);
        }
        let jwt = UnverifiedJwt::parse(token)?;
        jwt.contents().extensions()?;
        let (id, issuer) = rules.issuer(self.policies, &jwt.contents().claims)?;
        claimed.issuer = Some(id);
        walk_token(BEFORE_KEY, &TokenCase { contents: jwt.contents(), issuer, now })?;
        gateway.load.admits_signature(Instant::now())?;
        metrics.verified_cache(CacheResult::Miss);
        let signed = Arc::new(keys.verify((id, issuer), jwt).await?);
        claimed.verified = true;
        verified.remember(token, &signed);
        Principal::prove(signed, (id, issuer), now)
    }

    /// What tells of a question to an issuer in the trace.
    fn span(&self) -> Option<CallSpan> {
        self.gateway.shared.call_span(self.recorded)
    }
}
