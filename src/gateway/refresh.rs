//! How a session's access token is kept fresh: one request to the issuer for each renewal, whoever needs it.
//!
//! 1. A token that is good goes on as it is. One that ends soon goes on too and is renewed meanwhile; for one that is spent
//!    the request waits.
//! 2. Within the process renewals of one session are joined. They run on a runtime of their own: a request whose client
//!    leaves, a reload and a drain do not break one off.
//! 3. Over all replicas the stored session says who asks. Before the issuer is asked, an attempt is written where the
//!    session is still what was read; of several only one can. It is given so much time that it covers the whole of the token
//!    endpoint's limit; whoever finds it late before sending writes it anew.
//! 4. Whoever finds another's attempt waits for what comes of it, at most for the time the attempt was given, counted from
//!    when it was first seen here: clocks of replicas may differ. Only then does it try itself.
//! 5. What was granted is written before it is used, and is held until it could be: the old refresh token may be worth nothing
//!    by now. `invalid_grant` ends a session only where one more look finds the same refresh token.
//! 6. Trouble ends nothing: the old token goes on while it is good, then requests are refused as `issuer_unavailable`.
//!
//! A process that is killed between the issuer's answer and the write takes that answer along. The next one shows the old
//! refresh token again; an issuer that allows no overlap refuses it then, and that one session is counted as `lost`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::random;
use super::sessions::{Live, Sessions};
use crate::policy::grant::Granted;
use crate::policy::reject::Reject;
use crate::policy::session::{Attempt, Standing};
use crate::remote::clock::{Elapsed, Monotonic};
use crate::remote::store::StoreFault;
use crate::remote::token_endpoint::{Failure, Grant};
use crate::telemetry::labels::{RefreshResult, SessionEvent};
use crate::telemetry::spans::CallSpan;

/// What an attempt takes beside the call of the token endpoint: two writes, which a slow store may delay.
const MARGIN: Duration = Duration::from_secs(5);

/// By how much the clocks of replicas differ at most: an attempt is over for everybody so long after its end.
const CLOCKS: Duration = Duration::from_secs(300);

/// How often a session is looked at that somebody else renews: at first, and later.
const LOOKS: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// What comes of a renewal: the session with a token that is good, or why there is none.
type Renewal = Result<Arc<Live>, Reject>;

/// The renewals of this process that are under way, whichever configuration they began under.
#[derive(Debug)]
pub struct Renewals {
    /// Tells this process from every other, in an attempt.
    by: [u8; 16],
    /// By the session's place.
    under_way: watch::Sender<HashMap<[u8; 32], watch::Receiver<Option<Renewal>>>>,
}

impl Default for Renewals {
    fn default() -> Self {
        Self { by: random(), under_way: watch::Sender::default() }
    }
}

impl Renewals {
    /// Returns when none is under way.
    pub async fn idle(&self) {
        // The sender lives as long as this does.
        let _ = self.under_way.subscribe().wait_for(HashMap::is_empty).await;
    }
}

/// Whose attempt is waited for, and until when.
struct Awaited {
    by: [u8; 16],
    until: Monotonic,
}

impl Sessions {
    /// The session with an access token that is good now. Where the issuer has to be asked for that, `span` tells of it.
    ///
    /// # Errors
    ///
    /// `session_expired` where it is over, `issuer_unavailable` or `store_unavailable` where the token is spent and cannot be
    /// renewed now.
    pub async fn fresh(self: &Arc<Self>, live: Arc<Live>, span: Option<CallSpan>) -> Result<Arc<Live>, Reject> {
        let now = self.clock.wall();
        match live.session.standing(&self.plan.terms, now) {
            Standing::Fresh => Ok(live),
            Standing::Ending => {
                if !live.session.rests(now) && !is_under_way(&live, now) {
                    drop(self.join(&live, span));
                }
                Ok(live)
            }
            Standing::Spent if live.session.rests(now) => Err(self.no_issuer("the last try failed just now", AGAIN)),
            Standing::Spent => {
                let (mut renewal, limit) = (self.join(&live, span), self.clock.now().after(2 * self.span()));
                match self.clock.until(limit, renewal.wait_for(Option::is_some)).await {
                    Ok(Ok(renewed)) => renewed.clone().unwrap_or(Err(BROKEN_OFF)),
                    Ok(Err(_)) => Err(BROKEN_OFF),
                    Err(Elapsed) => Err(self.no_issuer("a renewal takes long", AGAIN)),
                }
            }
        }
    }

    /// The renewal of that session that is under way in this process, or a new one.
    fn join(self: &Arc<Self>, live: &Arc<Live>, span: Option<CallSpan>) -> watch::Receiver<Option<Renewal>> {
        let place = live.cookie.place();
        let (tell, mut told) = watch::channel(None);
        let begins = self.renewals.under_way.send_if_modified(|under_way| match under_way.entry(place) {
            Entry::Occupied(known) => {
                told = known.get().clone();
                false
            }
            Entry::Vacant(place) => {
                place.insert(told.clone());
                true
            }
        });
        if begins {
            let (sessions, live) = (Arc::clone(self), Arc::clone(live));
            drop(self.control.spawn(async move {
                let leaving = Leaving { renewals: &sessions.renewals, place };
                let renewal = sessions.renew(live, span).await;
                // What came of it is stored by now: who comes later finds it there.
                drop(leaving);
                tell.send_replace(Some(renewal.unwrap_or_else(|fault| Err(sessions.unavailable(fault)))));
            }));
        }
        told
    }

    /// Decides on what is stored until there is an outcome. A fault of the store breaks it off: whoever comes next begins
    /// anew, with the whole wait for another's attempt.
    async fn renew(self: &Arc<Self>, mut live: Arc<Live>, span: Option<CallSpan>) -> Result<Renewal, StoreFault> {
        let (mut awaited, mut looks) = (None, LOOKS[0]);
        loop {
            let now = self.clock.wall();
            if live.session.standing(&self.plan.terms, now) == Standing::Fresh {
                return Ok(Ok(live));
            }
            let Some(refresh_token) = live.session.refresh_token.clone() else {
                return self.over(&live, SessionEvent::Expired).await;
            };
            if self.is_anothers(&live, &mut awaited) {
                self.clock.sleep_until(self.clock.now().after(looks)).await;
                looks = (looks * 2).min(LOOKS[1]);
            } else if live.session.rests(now) {
                return Ok(Err(self.no_issuer("the last try failed just now", AGAIN)));
            } else {
                let unsure = self.is_unsure(&live);
                let begun = self.clock.now();
                let attempt = Attempt::UnderWay { by: self.renewals.by, begun: now, span: self.span() };
                let marked = self.replace(&live, live.session.with_attempt(attempt)).await?;
                if let Some(marked) = marked
                    && self.clock.now() < begun.after(MARGIN / 2)
                {
                    let asked = tokio::select! {
                        // First: who was stopped for so long shows nothing any more that others may have exchanged since.
                        biased;
                        () = self.clock.sleep_until(begun.after(self.span())) => Err(Self::late()),
                        asked = self.ask(&refresh_token, span.as_ref()) => asked,
                    };
                    if let Some(renewal) = self.settle(marked, &refresh_token, asked, unsure).await? {
                        return Ok(renewal);
                    }
                }
            }
            match self.reread(&live).await? {
                Some(there) => live = there,
                None => return Ok(Err(ENDED)),
            }
        }
    }

    /// Asks the issuer, and tells of that in the trace of the request that wants it.
    async fn ask(&self, refresh_token: &str, span: Option<&CallSpan>) -> Result<Granted, Failure> {
        let span = span.map(|span| span.another(random()));
        let begun = self.clock.now();
        let asked = self.plan.endpoint.ask(Grant::Refresh(refresh_token), span.as_ref().map(CallSpan::traceparent));
        let asked = asked.await;
        if let Some(span) = span {
            let result = match &asked {
                Ok(_) => RefreshResult::Success,
                Err(Failure::InvalidGrant) => RefreshResult::InvalidGrant,
                Err(Failure::Refused { .. }) => RefreshResult::Refused,
                Err(Failure::Unavailable { .. }) => RefreshResult::Unavailable,
            };
            span.refreshed(self.name(), result, self.clock.wall(), self.clock.now().since(begun));
        }
        asked
    }

    /// What an answer of the issuer comes to; none where what is stored now decides.
    async fn settle(
        self: &Arc<Self>,
        marked: Arc<Live>,
        shown: &str,
        asked: Result<Granted, Failure>,
        unsure: bool,
    ) -> Result<Option<Renewal>, StoreFault> {
        match asked {
            Ok(granted) => Ok(Some(self.keep(marked, shown, granted).await)),
            Err(Failure::InvalidGrant) => self.refused(&marked, shown, unsure).await,
            Err(Failure::Refused { why, help }) => {
                self.count_refresh(RefreshResult::Refused);
                tracing::warn!(session = self.name(), why, help, "the issuer does not renew sessions");
                self.rest(&marked).await?;
                Ok(Some(Err(self.no_issuer(&why, help))))
            }
            Err(Failure::Unavailable { why, help }) => {
                self.count_refresh(RefreshResult::Unavailable);
                self.rest(&marked).await?;
                Ok(Some(Err(self.no_issuer(&why, help))))
            }
        }
    }

    /// Writes what was granted, as long as the session lasts: nobody else has it.
    async fn keep(self: &Arc<Self>, mut live: Arc<Live>, shown: &str, granted: Granted) -> Renewal {
        loop {
            let now = self.clock.wall();
            let renewed = match live.session.renewed(granted.clone()) {
                // The refresh token may be a new one all the same.
                Ok(renewed) if renewed.access_token.is_spent(now) => renewed.with_attempt(Attempt::Failed { at: now }),
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
                Ok(Some(there)) if there.session.access_token.text == granted.access_token.text => {
                    return self.unless_spent(there);
                }
                // Used meanwhile, or somebody else tries with what is worth nothing any more.
                Ok(Some(there)) if there.session.refresh_token.as_deref() == Some(shown) => live = there,
                Ok(Some(there)) => return self.unless_spent(there),
                Ok(None) => {
                    // Ended meanwhile: what was granted after that is nobody's.
                    self.count_refresh(RefreshResult::Discarded);
                    granted.refresh_token.into_iter().for_each(|token| self.give_back(token));
                    return Err(ENDED);
                }
                Err(fault) if live.session.remains(&self.plan.terms, self.clock.wall()).is_zero() => {
                    return Err(self.unavailable(fault));
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
    async fn refused(
        self: &Arc<Self>,
        marked: &Live,
        shown: &str,
        unsure: bool,
    ) -> Result<Option<Renewal>, StoreFault> {
        loop {
            let Some(there) = self.reread(marked).await? else { return Ok(Some(Err(ENDED))) };
            if there.session.refresh_token.as_deref() != Some(shown) {
                return Ok(None);
            }
            if self.plan.store.remove(there.name(), there.unchanged()).await? {
                break;
            }
        }
        // Somebody had shown this token before and is not known to have had no answer.
        let (result, event) = if unsure {
            (RefreshResult::Lost, SessionEvent::Lost)
        } else {
            (RefreshResult::InvalidGrant, SessionEvent::Refused)
        };
        self.count_refresh(result);
        self.count(event);
        Ok(Some(Err(ENDED)))
    }

    /// Notes that a try failed, so that nobody waits for it.
    async fn rest(&self, marked: &Arc<Live>) -> Result<(), StoreFault> {
        let mut live = Arc::clone(marked);
        loop {
            let failed = live.session.with_attempt(Attempt::Failed { at: self.clock.wall() });
            if self.replace(&live, failed).await?.is_some() {
                return Ok(());
            }
            match self.reread(&live).await? {
                // It was used meanwhile.
                Some(there) if there.session.attempt == marked.session.attempt => live = there,
                Some(_) | None => return Ok(()),
            }
        }
    }

    async fn over(&self, live: &Live, event: SessionEvent) -> Result<Renewal, StoreFault> {
        if self.plan.store.remove(live.name(), live.unchanged()).await? {
            self.count(event);
        }
        Ok(Err(ENDED))
    }

    /// Whether somebody else's attempt is to be waited for.
    fn is_anothers(&self, live: &Live, awaited: &mut Option<Awaited>) -> bool {
        let Some(Attempt::UnderWay { by, begun, span }) = live.session.attempt else { return false };
        if by == self.renewals.by || ended(begun, span + CLOCKS, self.clock.wall()) {
            return false;
        }
        let now = self.clock.now();
        let seen = awaited.take().filter(|awaited| awaited.by == by);
        let Awaited { until, .. } = *awaited.insert(seen.unwrap_or_else(|| Awaited { by, until: now.after(span) }));
        now < until
    }

    /// Whether the refresh token may have been shown to the issuer before.
    fn is_unsure(&self, live: &Live) -> bool {
        match live.session.attempt {
            Some(Attempt::UnderWay { by, .. }) => by != self.renewals.by,
            Some(Attempt::Failed { .. }) => true,
            None => false,
        }
    }

    /// How long an attempt takes at most, to its last write.
    fn span(&self) -> Duration {
        self.plan.endpoint.source().timeout + MARGIN
    }

    fn late() -> Failure {
        Failure::Unavailable { why: "the time of the attempt was over before it was made".to_owned(), help: AGAIN }
    }

    fn no_issuer(&self, why: &str, help: &'static str) -> Reject {
        Reject::IssuerUnavailable { session: self.plan.name.clone(), why: why.to_owned(), help }
    }

    fn count_refresh(&self, result: RefreshResult) {
        self.telemetry.metrics.session_refreshed(&self.plan.name, result);
    }
}

const ENDED: Reject = Reject::SessionExpired { why: "it was ended" };

const BROKEN_OFF: Reject = Reject::Internal { why: "a renewal broke off" };

const AGAIN: &str = "it is tried again in a moment; see the refresh results in the metrics";

/// Whether an attempt is under way, by this replica's clock. Where that is wrong a token that is good is renewed somewhat
/// later.
fn is_under_way(live: &Live, now: SystemTime) -> bool {
    matches!(live.session.attempt, Some(Attempt::UnderWay { begun, span, .. }) if !ended(begun, span, now))
}

fn ended(begun: SystemTime, span: Duration, now: SystemTime) -> bool {
    begun.checked_add(span).is_some_and(|end| now >= end)
}

/// Takes a renewal off the list when it ends, however it does.
struct Leaving<'a> {
    renewals: &'a Renewals,
    place: [u8; 32],
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.renewals.under_way.send_modify(|under_way| drop(under_way.remove(&self.place)));
    }
}
