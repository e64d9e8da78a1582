//! Browser sessions in force: made by a login, opened by a cookie, ended by whoever may.
//!
//! 1. Every request asks the store. A session that was ended is over at once, on every replica.
//! 2. What was opened is remembered with the sealed bytes it was opened from, and counts while the store still has those
//!    very bytes: a warm session costs one call of the store and a comparison.
//! 3. A cookie that names no session, or does not open the one it names, has no session. Nobody learns which.
//! 4. A store that does not answer is `store_unavailable`: nobody is logged out by that.
//!
//! How the access token is kept fresh is in [`super::refresh`].

use std::collections::hash_map::RandomState;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;
use tokio::runtime::Handle;

use super::refresh::Renewals;
use crate::policy::grant::Granted;
use crate::policy::reject::Reject;
use crate::policy::seal::NONCE;
use crate::policy::session::{Cookie, Login, Sealer, Session, Terms};
use crate::remote::clock::Clock;
use crate::remote::store::{Given, Kind, Name, Store, StoreFault};
use crate::remote::token_endpoint::TokenEndpoint;
use crate::telemetry::Telemetry;
use crate::telemetry::labels::SessionEvent;

/// How many bytes remembered sessions may take, for each `[sessions.NAME]`.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// For how long requests may be on their way that a browser sent with a cookie it had before.
const ON_THE_WAY: Duration = Duration::from_secs(60);

/// What one `[sessions.NAME]` is made of.
pub struct Plan {
    /// Its name.
    pub name: String,
    /// How its sessions are sealed.
    pub sealer: Sealer,
    /// How long they last.
    pub terms: Terms,
    /// Who renews their tokens.
    pub endpoint: TokenEndpoint,
    /// Where they are kept.
    pub store: Arc<dyn Store>,
}

/// The sessions of one `[sessions.NAME]`.
pub struct Sessions {
    pub(super) plan: Plan,
    pub(super) clock: Clock,
    /// Where renewals are made, whoever waits for them.
    pub(super) control: Handle,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) renewals: Arc<Renewals>,
    /// By the cookie's value.
    opened: Cache<Arc<str>, Arc<Live>>,
}

/// A session that was opened, as it is stored.
#[derive(Debug)]
pub struct Live {
    /// What opened it.
    pub(super) cookie: Cookie,
    /// What was opened.
    pub(super) sealed: Bytes,
    /// What it says.
    pub session: Session,
}

impl Live {
    /// Where it is stored.
    pub(super) fn name(&self) -> Name {
        Name { kind: Kind::Session, hash: self.cookie.place() }
    }

    /// That the store has exactly this.
    pub(super) fn unchanged(&self) -> Given {
        Given::Begins(self.sealed.slice(..NONCE.min(self.sealed.len())))
    }
}

impl Sessions {
    /// The sessions of a plan, with what all sessions share.
    pub fn new(
        plan: Plan,
        clock: &Clock,
        control: &Handle,
        telemetry: &Arc<Telemetry>,
        renewals: &Arc<Renewals>,
    ) -> Self {
        let opened = Cache::builder().max_capacity(MAX_BYTES).weigher(weight);
        Self {
            plan,
            clock: clock.clone(),
            control: control.clone(),
            telemetry: Arc::clone(telemetry),
            renewals: Arc::clone(renewals),
            opened: opened.build_with_hasher(RandomState::new()),
        }
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Who grants tokens.
    pub fn endpoint(&self) -> &TokenEndpoint {
        &self.plan.endpoint
    }

    /// Where sessions are kept, with what else belongs to logins.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.plan.store
    }

    /// What seals them.
    pub fn sealer(&self) -> &Sealer {
        &self.plan.sealer
    }

    /// How long a session still lasts if it is not used again, in whole seconds.
    pub fn expires_in(&self, live: &Live) -> u64 {
        live.session.remains(&self.plan.terms, self.clock.wall()).as_secs()
    }

    /// Makes a session of what a login was granted, and gives the value of its cookie: a new one for each login.
    ///
    /// # Errors
    ///
    /// `store_unavailable`, and `internal` where the system gives no random bytes.
    pub async fn create(&self, login: Login, granted: Granted) -> Result<String, Reject> {
        let cookie = Cookie::new(secret()?);
        let session = Session::new(login, granted, self.clock.wall());
        let sealed = self.seal(&session, &cookie)?;
        let live = Live { cookie, sealed, session };
        // Listed first: there is no session that a logout at the issuer would not find.
        for list in self.lists(&live.session.login) {
            let listed = self.plan.store.enlist(list, live.name(), self.plan.terms.lifetime).await;
            listed.map_err(|fault| self.unavailable(fault))?;
        }
        let life = live.session.remains(&self.plan.terms, self.clock.wall());
        let written = self.plan.store.write(live.name(), live.sealed.clone(), life, Given::Any).await;
        written.map_err(|fault| self.unavailable(fault))?;
        self.count(SessionEvent::Created);
        Ok(live.cookie.value())
    }

    /// The session of a cookie of that value, as the store has it now.
    ///
    /// # Errors
    ///
    /// `store_unavailable`.
    pub async fn open(self: &Arc<Self>, value: &str) -> Result<Option<Arc<Live>>, Reject> {
        let Some(live) = self.peek(value).await? else { return Ok(None) };
        if live.session.is_used_anew(&self.plan.terms, self.clock.wall()) {
            drop(self.control.spawn(Arc::clone(self).note_use(Arc::clone(&live))));
        }
        Ok(Some(live))
    }

    /// The same, without use: the session ends no later by that.
    ///
    /// # Errors
    ///
    /// `store_unavailable`.
    pub async fn peek(&self, value: &str) -> Result<Option<Arc<Live>>, Reject> {
        let remembered = self.opened.get(value);
        let cookie = match &remembered {
            Some(live) => live.cookie.clone(),
            None => match Cookie::parse(value) {
                Some(cookie) => cookie,
                None => return Ok(None),
            },
        };
        let name = Name { kind: Kind::Session, hash: cookie.place() };
        let Some(sealed) = self.plan.store.read(name).await.map_err(|fault| self.unavailable(fault))? else {
            self.opened.invalidate(value);
            return Ok(None);
        };
        let live = match remembered.filter(|live| live.sealed == sealed) {
            Some(live) => live,
            None => match self.opened_from(cookie, sealed) {
                Some(live) => {
                    self.opened.insert(value.into(), Arc::clone(&live));
                    live
                }
                None => {
                    self.count(SessionEvent::Unopened);
                    return Ok(None);
                }
            },
        };
        if live.session.remains(&self.plan.terms, self.clock.wall()).is_zero() {
            // Kept longer than it lasts, because the terms were changed or the store's clock is another.
            self.remove(&live, SessionEvent::Expired).await?;
            return Ok(None);
        }
        Ok(Some(live))
    }

    /// The session as the store has it now; none where it was ended.
    pub(super) async fn reread(&self, live: &Live) -> Result<Option<Arc<Live>>, StoreFault> {
        let Some(sealed) = self.plan.store.read(live.name()).await? else { return Ok(None) };
        Ok(self.opened_from(live.cookie.clone(), sealed))
    }

    fn opened_from(&self, cookie: Cookie, sealed: Bytes) -> Option<Arc<Live>> {
        let session = self.plan.sealer.open(&sealed, &cookie)?;
        Some(Arc::new(Live { cookie, sealed, session }))
    }

    /// Replaces what is stored of a session, where that is still what `live` was opened from; none where it is not.
    pub(super) async fn replace(&self, live: &Live, session: Session) -> Result<Option<Arc<Live>>, StoreFault> {
        let unwritten = |_| StoreFault { why: "the session cannot be sealed".to_owned() };
        let sealed = self.seal(&session, &live.cookie).map_err(unwritten)?;
        let life = session.remains(&self.plan.terms, self.clock.wall());
        let written = self.plan.store.write(live.name(), sealed.clone(), life, live.unchanged()).await?;
        Ok(written.then(|| Arc::new(Live { cookie: live.cookie.clone(), sealed, session })))
    }

    /// Notes that a session was used. Where that fails it was changed by somebody who noted it, or the next request does.
    async fn note_use(self: Arc<Self>, live: Arc<Live>) {
        let _ = self.replace(&live, live.session.used_at(self.clock.wall())).await;
    }

    /// Ends a session: it is removed here first, then its refresh token is given back to the issuer, without waiting for that.
    ///
    /// # Errors
    ///
    /// `store_unavailable`: it is not ended.
    pub async fn end(self: &Arc<Self>, live: &Live) -> Result<(), Reject> {
        self.remove(live, SessionEvent::LoggedOut).await?;
        if let Some(token) = live.session.refresh_token.clone() {
            self.give_back(token);
        }
        Ok(())
    }

    /// Ends a session whose browser has another one now. Its tokens are not given back: with one of them some issuers end
    /// whatever came of the same person's login there, the new session's tokens among it.
    ///
    /// # Errors
    ///
    /// `store_unavailable`: it is not ended.
    pub async fn leave(&self, live: &Live) -> Result<(), Reject> {
        // First: whoever finds it gone finds why.
        let noted =
            self.plan.store.write(replaced(&live.cookie), Bytes::from_static(b"1"), ON_THE_WAY, Given::Any).await;
        noted.map_err(|fault| self.unavailable(fault))?;
        self.remove(live, SessionEvent::Replaced).await
    }

    /// The refusal of a cookie of that value, which opens nothing.
    pub async fn refusal(&self, value: &str) -> Reject {
        let expired = Reject::SessionExpired { why: "no session is of this cookie" };
        let Some(cookie) = Cookie::parse(value) else { return expired };
        match self.plan.store.read(replaced(&cookie)).await {
            Ok(None) => expired,
            Ok(Some(_)) => Reject::SessionReplaced,
            Err(fault) => self.unavailable(fault),
        }
    }

    /// Gives a refresh token back that nobody will use.
    pub(super) fn give_back(self: &Arc<Self>, refresh_token: String) {
        let sessions = Arc::clone(self);
        drop(self.control.spawn(async move {
            if let Err(failure) = sessions.plan.endpoint.revoke(&refresh_token).await {
                let (cause, help) = failure.told();
                tracing::info!(session = sessions.name(), cause, help, "a refresh token could not be revoked");
            }
        }));
    }

    /// Ends every session that the issuer knows by that `sid`; says how many there were.
    ///
    /// # Errors
    ///
    /// `store_unavailable`: some may not be ended.
    pub async fn end_by_sid(&self, issuer: &str, sid: &str) -> Result<usize, Reject> {
        self.end_listed(["sid", issuer, sid]).await
    }

    /// Ends every session of that subject; says how many there were.
    ///
    /// # Errors
    ///
    /// `store_unavailable`: some may not be ended.
    pub async fn end_by_subject(&self, issuer: &str, subject: &str) -> Result<usize, Reject> {
        self.end_listed(["sub", issuer, subject]).await
    }

    async fn end_listed(&self, [by, issuer, value]: [&str; 3]) -> Result<usize, Reject> {
        let mut ended = 0;
        // A key that was exchanged meanwhile gave the list another name.
        for hash in self.plan.sealer.ring.blind(&[by, &self.plan.name, issuer, value]) {
            let list = Name { kind: Kind::Index, hash };
            let members = self.plan.store.members(list).await.map_err(|fault| self.unavailable(fault))?;
            for member in members {
                let removed = self.plan.store.remove(member, Given::Any).await;
                if removed.map_err(|fault| self.unavailable(fault))? {
                    self.count(SessionEvent::LoggedOut);
                    ended += 1;
                }
            }
        }
        Ok(ended)
    }

    /// The lists that a session stands in.
    fn lists(&self, login: &Login) -> Vec<Name> {
        let list = |by: &str, value: &str| {
            let parts = [by, &self.plan.name, &login.issuer, value];
            let hash = self.plan.sealer.ring.blind(&parts).next();
            hash.map(|hash| Name { kind: Kind::Index, hash })
        };
        let by_sid = login.sid.as_deref().and_then(|sid| list("sid", sid));
        list("sub", &login.subject).into_iter().chain(by_sid).collect()
    }

    pub(super) async fn remove(&self, live: &Live, event: SessionEvent) -> Result<(), Reject> {
        self.opened.invalidate(live.cookie.value().as_str());
        let removed = self.plan.store.remove(live.name(), Given::Any).await.map_err(|fault| self.unavailable(fault))?;
        if removed {
            self.count(event);
        }
        Ok(())
    }

    fn seal(&self, session: &Session, cookie: &Cookie) -> Result<Bytes, Reject> {
        let sealed = self.plan.sealer.seal(session, cookie, secret()?);
        sealed.map(Bytes::from).ok_or(Reject::Internal { why: "a session cannot be sealed" })
    }

    pub(super) fn count(&self, event: SessionEvent) {
        self.telemetry.metrics.session_event(&self.plan.name, event);
    }

    pub(super) fn unavailable(&self, fault: StoreFault) -> Reject {
        Reject::StoreUnavailable { why: fault.why }
    }
}

/// Where it is noted that the browser which had this cookie got another one.
fn replaced(cookie: &Cookie) -> Name {
    Name { kind: Kind::Mark, hash: cookie.place() }
}

/// Bytes that nobody can guess.
pub(super) fn secret<const LENGTH: usize>() -> Result<[u8; LENGTH], Reject> {
    let mut bytes = [0; LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Reject::Internal { why: "the system gives no random bytes" })?;
    Ok(bytes)
}

/// What a remembered session takes: its sealed form, what that says, which is somewhat less, and the entry itself.
fn weight(value: &Arc<str>, live: &Arc<Live>) -> u32 {
    u32::try_from(value.len() + 2 * live.sealed.len() + 1024).unwrap_or(u32::MAX)
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sessions").field(&self.plan.name).finish()
    }
}
