//! How sessions end: by their browser, by their issuer, or because the browser has another one.
//!
//! A logout at the issuer also ends the login that is on its way: its code was exchanged, and its session is not written yet.
//! So each logout is noted for as long as a login may take, with the time at which the issuer says it was, of several the
//! latest; a login looks for that once its session is written, and is over where its ID token is no younger.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Live, Sessions};
use crate::policy::claims::NumericDate;
use crate::policy::reject::Reject;
use crate::policy::session::{Cookie, Login};
use crate::remote::store::{Given, Kind, Name, StoreFault};
use crate::telemetry::labels::SessionEvent;

/// For how long requests may be on their way that a browser sent with a cookie it had before.
const ON_THE_WAY: Duration = Duration::from_secs(60);

/// What a login takes at most beside the call of the token endpoint: keys that are fetched, and a store that is slow.
const LOGIN: Duration = Duration::from_secs(300);

/// How often a note is tried that others change at the same time. Each time one of them has noted a logout.
const TRIES: usize = 100;

impl Sessions {
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
        self.plan.store.write(replaced(&live.cookie), Bytes::from_static(b"1"), ON_THE_WAY, Given::Any).await?;
        self.remove(live, SessionEvent::Replaced).await
    }

    /// The refusal of a cookie of that value, which opens nothing.
    pub async fn refusal(&self, value: &str) -> Reject {
        let expired = Reject::SessionExpired { why: "no session is of this cookie" };
        let Some(cookie) = Cookie::parse(value) else { return expired };
        match self.was_replaced(&cookie).await {
            Ok(false) => expired,
            Ok(true) => Reject::SessionReplaced,
            Err(fault) => fault.into(),
        }
    }

    /// Whether the browser that had this cookie has another session now, in place of the one that was.
    pub(in crate::gateway) async fn was_replaced(&self, cookie: &Cookie) -> Result<bool, StoreFault> {
        Ok(self.plan.store.read(replaced(cookie)).await?.is_some())
    }

    /// Ends every session that the issuer knows by that `sid`, and those of logins on their way that it began before `at`;
    /// says how many there were.
    ///
    /// # Errors
    ///
    /// `store_unavailable`: some may not be ended.
    pub async fn end_by_sid(&self, issuer: &str, sid: &str, at: NumericDate) -> Result<usize, Reject> {
        self.end_listed(["sid", issuer, sid], at).await
    }

    /// The same of every session of that subject.
    ///
    /// # Errors
    ///
    /// `store_unavailable`: some may not be ended.
    pub async fn end_by_subject(&self, issuer: &str, subject: &str, at: NumericDate) -> Result<usize, Reject> {
        self.end_listed(["sub", issuer, subject], at).await
    }

    async fn end_listed(&self, which: [&str; 3], at: NumericDate) -> Result<usize, Reject> {
        // First: a login on its way writes its session, then looks for this. So it finds this, or we find the session.
        self.note_end(which, at).await?;
        let ([by, issuer, value], mut ended) = (which, 0);
        // A key that was exchanged meanwhile gave the list another name.
        for hash in self.plan.sealer.ring.blind(&[by, &self.plan.name, issuer, value]) {
            let list = Name { kind: Kind::Index, hash };
            let members = self.plan.store.members(list).await?;
            for member in members {
                let removed = self.plan.store.remove(member, Given::Any).await;
                if removed? {
                    self.count(SessionEvent::LoggedOut);
                    ended += 1;
                }
            }
        }
        Ok(ended)
    }

    /// The lists that a session stands in.
    pub(super) fn lists(&self, login: &Login) -> Vec<Name> {
        let list = |by: &str, value: &str| {
            let parts = [by, &self.plan.name, &login.issuer, value];
            let hash = self.plan.sealer.ring.blind(&parts).next();
            hash.map(|hash| Name { kind: Kind::Index, hash })
        };
        let by_sid = login.sid.as_deref().and_then(|sid| list("sid", sid));
        list("sub", &login.subject).into_iter().chain(by_sid).collect()
    }

    /// Notes that the issuer has ended these logins at that time, or keeps a later one that was noted.
    async fn note_end(&self, which: [&str; 3], at: NumericDate) -> Result<(), StoreFault> {
        let Some(note) = self.end_notes(which).into_iter().next() else { return Ok(()) };
        let life = self.plan.endpoint.source().timeout + LOGIN;
        for _ in 0..TRIES {
            let noted = self.plan.store.read(note).await?;
            let latest = noted.as_deref().and_then(noted_time).filter(|noted| *noted > at).unwrap_or(at);
            // All are of one length: what begins so is the same.
            let entry = Bytes::copy_from_slice(&latest.seconds().to_be_bytes());
            let given = noted.map_or(Given::Absent, Given::Begins);
            if self.plan.store.write(note, entry, life, given).await? {
                return Ok(());
            }
        }
        let help = "the issuer can send the logout again; see what writes into the store";
        Err(StoreFault { why: "the note of a logout is changed over and over".to_owned(), help })
    }

    /// Whether the issuer has ended a login whose ID token it made at the time `issued`.
    pub(super) async fn was_ended(&self, login: &Login, issued: NumericDate) -> Result<bool, Reject> {
        let by_sid = login.sid.as_deref().map(|sid| ["sid", &login.issuer, sid]);
        for which in by_sid.into_iter().chain([["sub", &login.issuer, &login.subject]]) {
            for note in self.end_notes(which) {
                let Some(noted) = self.plan.store.read(note).await? else { continue };
                // What cannot be read was not written by us: nobody is logged in by that.
                if noted_time(&noted).is_none_or(|at| issued <= at) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Where it is noted that the issuer has ended these logins: the first is the one to use.
    fn end_notes(&self, [by, issuer, value]: [&str; 3]) -> Vec<Name> {
        let parts = ["ended", by, &self.plan.name, issuer, value];
        self.plan.sealer.ring.blind(&parts).map(|hash| Name { kind: Kind::Mark, hash }).collect()
    }

    pub(in crate::gateway) async fn remove(&self, live: &Live, event: SessionEvent) -> Result<(), Reject> {
        self.opened.invalidate(live.cookie.value().as_str());
        let removed = self.plan.store.remove(live.name(), Given::Any).await?;
        if removed {
            self.count(event);
        }
        Ok(())
    }
}

/// The time of a logout, as it is noted.
fn noted_time(entry: &[u8]) -> Option<NumericDate> {
    NumericDate::new(f64::from_be_bytes(entry.try_into().ok()?))
}

/// Where it is noted that the browser which had this cookie got another one.
fn replaced(cookie: &Cookie) -> Name {
    Name { kind: Kind::Mark, hash: cookie.place() }
}
