//! What the issuer's answer comes to: what is stored of it, what is counted, and what the requests get that wait for it.

use std::sync::Arc;

use super::{LOOKS, Renewal};
use crate::gateway::random;
use crate::gateway::sessions::{Live, Sessions};
use crate::policy::grant::Granted;
use crate::policy::reject::Reject;
use crate::policy::session::{Attempt, Session};
use crate::remote::store::StoreFault;
use crate::remote::token_endpoint::Failure;
use crate::telemetry::labels::{RefreshResult, SessionEvent};

/// What an attempt shows to the issuer, and why.
pub(super) struct Shown {
    /// What it shows.
    pub(super) refresh_token: String,
    /// What came of the attempt before it.
    pub(super) last: Option<Attempt>,
    /// Whether the access token was refused before its end.
    pub(super) hastens: bool,
}

/// The refusal of a session that is over.
pub(super) const ENDED: Reject = Reject::SessionExpired { why: "it was ended" };

/// What a failure counts as.
pub(super) fn result(failure: &Failure) -> RefreshResult {
    match failure {
        Failure::InvalidGrant => RefreshResult::InvalidGrant,
        Failure::Refused { .. } => RefreshResult::Refused,
        Failure::LeftAlone => RefreshResult::LeftAlone,
        Failure::Unavailable { .. } => RefreshResult::Unavailable,
    }
}

impl Sessions {
    /// What an answer of the issuer comes to; none where what is stored now decides.
    pub(super) async fn settle(
        self: &Arc<Self>,
        marked: Arc<Live>,
        shown: &Shown,
        asked: Result<Granted, Failure>,
    ) -> Result<Option<Renewal>, StoreFault> {
        let failure = match asked {
            Ok(granted) => return Ok(Some(self.keep(marked, shown, granted).await)),
            Err(Failure::InvalidGrant) => return self.refused(&marked, shown).await,
            Err(failure) => failure,
        };
        self.count_refresh(result(&failure));
        let (now, (why, help)) = (self.clock.wall(), failure.told());
        let failed = match &failure {
            Failure::Refused { .. } => {
                let [random] = random();
                Attempt::refused(shown.last.as_ref(), now, random)
            }
            Failure::LeftAlone => Attempt::kept_back(shown.last.as_ref(), now),
            Failure::InvalidGrant | Failure::Unavailable { .. } => Attempt::troubled(now),
        };
        if matches!(failure, Failure::Refused { .. }) {
            let again_in_ms = failed.rest().as_millis();
            tracing::warn!(session = self.name(), why, help, again_in_ms, "the issuer does not renew a session");
        }
        self.rest(&marked, failed).await?;
        Ok(Some(Err(self.no_issuer(why, help))))
    }

    /// Writes what was granted, as long as the session lasts: nobody else has it.
    async fn keep(self: &Arc<Self>, mut live: Arc<Live>, shown: &Shown, granted: Granted) -> Renewal {
        loop {
            let now = self.clock.wall();
            let renewed = match live.session.renewed(granted.clone()) {
                // The refresh token may be a new one all the same.
                Ok(renewed) if renewed.access_token.is_spent(now) => {
                    renewed.with_attempt(Attempt::kept_back(None, now))
                }
                Ok(renewed) if shown.hastens => renewed.hastened(now),
                Ok(renewed) => renewed,
                Err(why) => return self.disown(&live, why).await,
            };
            let stood = match self.replace(&live, renewed).await {
                Ok(Some(renewed)) => {
                    self.count_refresh(RefreshResult::Success);
                    return self.unless_spent(renewed);
                }
                Ok(None) => self.reread(&live).await,
                Err(fault) => Err(fault),
            };
            match stood {
                // Written after all, and only the store's word of it was lost.
                Ok(Some(there)) if has(&there.session, &granted) => {
                    return self.unless_spent(there);
                }
                // Used meanwhile, or somebody else tries with what is worth nothing any more.
                Ok(Some(there)) if there.session.refresh_token.as_ref() == Some(&shown.refresh_token) => live = there,
                Ok(Some(there)) => return self.unless_spent(there),
                Ok(None) => {
                    // Ended meanwhile: what was granted after that is nobody's.
                    self.count_refresh(RefreshResult::Discarded);
                    // Nor is it given back where the browser has another session, or where that is not known.
                    if let (Some(token), Ok(false)) = (granted.refresh_token, self.was_replaced(&live.cookie).await) {
                        self.give_back(token);
                    }
                    return Err(ENDED);
                }
                Err(fault) if live.session.remains(&self.plan.terms, self.clock.wall()).is_zero() => {
                    granted.refresh_token.into_iter().for_each(|token| self.give_back(token));
                    return Err(fault.into());
                }
                Err(_) => self.clock.sleep_until(self.clock.now().after(LOOKS[1])).await,
            }
        }
    }

    /// Ends a session for which the issuer grants what is another's.
    async fn disown(&self, live: &Live, why: &'static str) -> Renewal {
        self.count_refresh(RefreshResult::Refused);
        tracing::error!(session = self.name(), why, "what the issuer grants is another's: the session is ended");
        self.remove(live, SessionEvent::Refused).await?;
        Err(ENDED)
    }

    fn unless_spent(&self, live: Arc<Live>) -> Renewal {
        if live.session.access_token.is_spent(self.clock.wall()) {
            let help = "see which access tokens the issuer grants for refresh tokens, and that the clocks agree";
            return Err(self.no_issuer("the issuer granted a token whose time is over", help));
        }
        Ok(live)
    }

    /// The issuer does not take the refresh token. That is final only where it is still the session's.
    async fn refused(self: &Arc<Self>, marked: &Live, shown: &Shown) -> Result<Option<Renewal>, StoreFault> {
        loop {
            let Some(there) = self.reread(marked).await? else { return Ok(Some(Err(ENDED))) };
            if there.session.refresh_token.as_ref() != Some(&shown.refresh_token) {
                return Ok(None);
            }
            if self.plan.store.remove(there.name(), there.unchanged()).await? {
                break;
            }
        }
        // An earlier try may have had it exchanged, and nobody had the answer.
        let (result, event) = if shown.last.as_ref().is_some_and(Attempt::is_unsure) {
            (RefreshResult::Lost, SessionEvent::Lost)
        } else {
            (RefreshResult::InvalidGrant, SessionEvent::Refused)
        };
        self.count_refresh(result);
        self.count(event);
        Ok(Some(Err(ENDED)))
    }

    /// Notes that a try failed, so that nobody waits for it.
    async fn rest(&self, marked: &Arc<Live>, failed: Attempt) -> Result<(), StoreFault> {
        let mut live = Arc::clone(marked);
        loop {
            if self.replace(&live, live.session.with_attempt(failed.clone())).await?.is_some() {
                return Ok(());
            }
            match self.reread(&live).await? {
                // It was used meanwhile.
                Some(there) if there.session.attempt == marked.session.attempt => live = there,
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn count_refresh(&self, result: RefreshResult) {
        self.telemetry.metrics.session_refreshed(&self.plan.name, result);
    }
}

/// Whether a session has what was granted. Not by the access token's text alone: an issuer may grant one again while it is
/// good, with another refresh token.
fn has(session: &Session, granted: &Granted) -> bool {
    let (there, token) = (&session.access_token, &granted.access_token);
    let is_kept = |rotated: &String| session.refresh_token.as_ref() == Some(rotated);
    there.text == token.text && there.received == token.received && granted.refresh_token.as_ref().is_none_or(is_kept)
}
