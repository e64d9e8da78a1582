//! Browser sessions in force: made by a login, opened by a cookie, ended by whoever may.
//!
//! 1. Every request asks the store. A session that was ended is over at once, on every replica.
//! 2. What was opened is remembered with the sealed bytes it was opened from, and counts while the store still has those
//!    very bytes: a warm session costs one call of the store and a comparison.
//! 3. A cookie that names no session, or does not open the one it names, has no session. Nobody learns which.
//! 4. A store that does not answer is `store_unavailable`: nobody is logged out by that.
//!
//! How the access token is kept fresh is in [`super::refresh`].

mod ending;
mod revocation;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub(super) use self::revocation::Unclaimed;
use super::refresh::Renewals;
use crate::policy::claims::NumericDate;
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
    /// One for each refresh token that can be given back at the same time.
    revocations: Arc<Semaphore>,
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
            revocations: Arc::new(Semaphore::new(revocation::AT_ONCE)),
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

    /// Makes a session of what a login was granted, and gives the value of its cookie: a new one for each login. `issued` is
    /// when the issuer made the login's ID token.
    ///
    /// # Errors
    ///
    /// `store_unavailable`; `login_state_invalid` where the issuer has ended the login meanwhile; `internal` where the system
    /// gives no random bytes.
    pub async fn create(&self, login: Login, granted: Granted, issued: NumericDate) -> Result<String, Reject> {
        let cookie = Cookie::new(secret()?);
        let session = Session::new(login, granted, self.clock.wall());
        let sealed = self.seal(&session, &cookie)?;
        let live = Live { cookie, sealed, session };
        // Listed first: there is no session that a logout at the issuer would not find.
        for list in self.lists(&live.session.login) {
            self.plan.store.enlist(list, live.name(), self.plan.terms.lifetime).await?;
        }
        let life = live.session.remains(&self.plan.terms, self.clock.wall());
        self.plan.store.write(live.name(), live.sealed.clone(), life, Given::Any).await?;
        self.count(SessionEvent::Created);
        // Only now: a logout that did not find the session was noted before it looked.
        if self.was_ended(&live.session.login, issued).await? {
            self.remove(&live, SessionEvent::LoggedOut).await?;
            return Err(Reject::LoginStateInvalid { why: "the issuer ended the login while it was on its way" });
        }
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
        let Some(sealed) = self.plan.store.read(name).await? else {
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
        let unwritten = |_| StoreFault::defect("the session cannot be sealed");
        let sealed = self.seal(&session, &live.cookie).map_err(unwritten)?;
        let life = session.remains(&self.plan.terms, self.clock.wall());
        let written = self.plan.store.write(live.name(), sealed.clone(), life, live.unchanged()).await?;
        Ok(written.then(|| Arc::new(Live { cookie: live.cookie.clone(), sealed, session })))
    }

    /// Notes that a session was used. Where that fails it was changed by somebody who noted it, or the next request does.
    async fn note_use(self: Arc<Self>, live: Arc<Live>) {
        let _ = self.replace(&live, live.session.used_at(self.clock.wall())).await;
    }

    fn seal(&self, session: &Session, cookie: &Cookie) -> Result<Bytes, Reject> {
        let sealed = self.plan.sealer.seal(session, cookie, secret()?);
        sealed.map(Bytes::from).ok_or(Reject::Internal { why: "a session cannot be sealed" })
    }

    pub(super) fn count(&self, event: SessionEvent) {
        self.telemetry.metrics.session_event(&self.plan.name, event);
    }
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
