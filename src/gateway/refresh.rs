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
//! 6. Trouble ends nothing: the old token goes on while it is good, then requests are refused as `issuer_unavailable`. An issuer
//!    that refuses us is asked ever more seldom.
//! 7. A token that is refused before its end is renewed at once, in the same way. Whoever was refused waits for the other one.
//!    Where that is refused as well it helps no more, and is not repeated: see [`crate::policy::session`].
//!
//! A process that is killed between the issuer's answer and the write takes that answer along. The next one shows the old
//! refresh token again; an issuer that allows no overlap refuses it then, and that one session is counted as `lost`.

mod settle;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use self::settle::{ENDED, Shown, result};
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
                    drop(self.join(&live, false, span));
                }
                Ok(live)
            }
            Standing::Spent => self.renewed(&live, false, span).await,
        }
    }

    /// The session with another access token, where this one is refused though it is not spent; none where that is not to be
    /// tried, or brings no other one: the refusal stands. Where the issuer has to be asked, `span` tells of it.
    ///
    /// # Errors
    ///
    /// As [`Sessions::fresh`].
    pub async fn instead(
        self: &Arc<Self>,
        live: &Arc<Live>,
        span: Option<CallSpan>,
    ) -> Result<Option<Arc<Live>>, Reject> {
        if !live.session.may_be_hastened(self.clock.wall()) {
            return Ok(None);
        }
        let renewed = self.renewed(live, true, span).await?;
        Ok((renewed.session.access_token.text != live.session.access_token.text).then_some(renewed))
    }

    /// Notes that the access token was taken which came instead of one that was refused. Where the store fails the next request
    /// does it.
    pub fn note_taken(self: &Arc<Self>, live: &Arc<Live>) {
        let (sessions, mut live) = (Arc::clone(self), Arc::clone(live));
        drop(self.control.spawn(async move {
            let token = live.session.access_token.text.clone();
            while let Ok(None) = sessions.replace(&live, live.session.taken()).await {
                match sessions.reread(&live).await {
                    // It was used meanwhile.
                    Ok(Some(there)) if there.session.is_doubtful() && there.session.access_token.text == token => {
                        live = there;
                    }
                    Ok(Some(_) | None) | Err(_) => return,
                }
            }
        }));
    }

    /// What comes of a renewal that a request waits for.
    async fn renewed(self: &Arc<Self>, live: &Arc<Live>, hastens: bool, span: Option<CallSpan>) -> Renewal {
        if live.session.rests(self.clock.wall()) {
            return Err(self.no_issuer("the last try failed just now", AGAIN));
        }
        let (mut renewal, limit) = (self.join(live, hastens, span), self.clock.now().after(2 * self.span()));
        match self.clock.until(limit, renewal.wait_for(Option::is_some)).await {
            Ok(Ok(renewed)) => renewed.clone().unwrap_or(Err(BROKEN_OFF)),
            Ok(Err(_)) => Err(BROKEN_OFF),
            Err(Elapsed) => Err(self.no_issuer("a renewal takes long", AGAIN)),
        }
    }

    /// The renewal of that session that is under way in this process, or a new one: of a token that is not good much longer,
    /// or, where it `hastens`, of this one.
    fn join(
        self: &Arc<Self>,
        live: &Arc<Live>,
        hastens: bool,
        span: Option<CallSpan>,
    ) -> watch::Receiver<Option<Renewal>> {
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
                let renewal = sessions.renew(live, hastens, span).await;
                // What came of it is stored by now: who comes later finds it there.
                drop(leaving);
                tell.send_replace(Some(renewal.unwrap_or_else(|fault| Err(fault.into()))));
            }));
        }
        told
    }

    /// Decides on what is stored until there is an outcome. A fault of the store breaks it off: whoever comes next begins
    /// anew, with the whole wait for another's attempt.
    async fn renew(
        self: &Arc<Self>,
        mut live: Arc<Live>,
        hastens: bool,
        span: Option<CallSpan>,
    ) -> Result<Renewal, StoreFault> {
        let refused = hastens.then(|| live.session.access_token.text.clone());
        let (mut awaited, mut looks) = (None, LOOKS[0]);
        loop {
            let now = self.clock.wall();
            let hastens = refused.as_ref() == Some(&live.session.access_token.text);
            if !hastens && live.session.standing(&self.plan.terms, now) == Standing::Fresh {
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
            } else if let Some((marked, until)) = self.mark(&live).await? {
                if hastens {
                    self.count(SessionEvent::TokenRefused);
                }
                let shown = Shown { refresh_token, last: live.session.attempt.clone(), hastens };
                let asked = tokio::select! {
                    // First: who was stopped for so long shows nothing any more that others may have exchanged since.
                    biased;
                    () = self.clock.sleep_until(until) => Err(Self::late()),
                    asked = self.ask(&shown.refresh_token, span.as_ref()) => asked,
                };
                if let Some(renewal) = self.settle(marked, &shown, asked).await? {
                    return Ok(renewal);
                }
            }
            match self.reread(&live).await? {
                Some(there) => live = there,
                None => return Ok(Err(ENDED)),
            }
        }
    }

    /// Writes that an attempt is under way, and gives what is stored then and until when the attempt lasts; none where
    /// somebody else has changed the session.
    async fn mark(&self, live: &Arc<Live>) -> Result<Option<(Arc<Live>, Monotonic)>, StoreFault> {
        let mut live = Arc::clone(live);
        loop {
            let (begun, now, span) = (self.clock.now(), self.clock.wall(), self.span());
            let attempt = Attempt::UnderWay { by: self.renewals.by, begun: now, span };
            let Some(marked) = self.replace(&live, live.session.with_attempt(attempt)).await? else { return Ok(None) };
            if self.clock.now() < begun.after(MARGIN / 2) {
                return Ok(Some((marked, begun.after(span))));
            }
            // Too much of the attempt's time is over.
            live = marked;
        }
    }

    /// Asks the issuer, and tells of that in the trace of the request that wants it.
    async fn ask(&self, refresh_token: &str, span: Option<&CallSpan>) -> Result<Granted, Failure> {
        let span = span.map(|span| span.another(random()));
        let begun = self.clock.now();
        let asked = self.plan.endpoint.ask(Grant::Refresh(refresh_token), span.as_ref().map(CallSpan::traceparent));
        let asked = asked.await;
        if let Some(span) = span.filter(|_| !matches!(asked, Err(Failure::LeftAlone))) {
            let result = asked.as_ref().err().map_or(RefreshResult::Success, result);
            span.refreshed(self.name(), result, self.clock.wall(), self.clock.now().since(begun));
        }
        asked
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
}

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
