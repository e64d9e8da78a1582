//! A session: a browser's login, held by us. What it is, how it is sealed, when its tokens are renewed, when it ends.
//!
//! 1. The browser has a [`Cookie`]: an id and a secret. What is stored lies under a hash of the id and is sealed with the
//!    key ring and that secret: a store tells nothing without the browser, nor the browser without the ring.
//! 2. A session ends `lifetime` after the login, and `idle_timeout` after it was last used. How long ago that was is noted
//!    in steps, so that not every request is a write: it ends early by at most [`Terms::step`].
//! 3. The access token is renewed ahead of its end, by `refresh_before` or half of its life, whichever is less; and when it is
//!    spent. An issuer that answers with a token that ends no later than the old one is asked again only when that is spent.
//! 4. Before an issuer is asked, an [`Attempt`] is put into the stored session. Whoever finds one that is under way waits for
//!    its end as for a lease; after one that failed nobody tries again for a pause. That is [`PAUSE`] after trouble; where the
//!    issuer refuses us it is twice as long each time, up to [`LONGEST_PAUSE`], and then up to a quarter of it is left out.
//! 5. A renewal replaces the refresh token where the issuer sends a new one (rotation), and never the subject. Where it names
//!    no scopes they are those there were (RFC 6749 section 6), not what was once asked for.
//! 6. An access token that is refused before its end is renewed at once. Where the one that comes instead is refused as well,
//!    that helps no more: the next renewal of this kind comes only after a token was taken, and [`HASTE`] later at the earliest.

mod cookie;

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::cookie::Cookie;
use super::claims::Claims;
use super::grant::{AccessToken, Granted};
use super::jwt::UnverifiedJwt;
use super::seal::{Bound, KeyRing, NONCE};

/// For how long nobody tries again after a try that met trouble, or that was refused for the first time.
pub const PAUSE: Duration = Duration::from_secs(1);

/// For how long at most.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long after a renewal before the token's end there is no other one.
pub const HASTE: Duration = Duration::from_secs(60);

/// What is sealed, and in which form.
const FORM: &str = "bearward session 1";

/// How long sessions last and when their tokens are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long before its end an access token is renewed, at most half of its life.
    pub refresh_before: Duration,
    /// How long a session may be unused.
    pub idle_timeout: Duration,
    /// How long it lasts in all.
    pub lifetime: Duration,
}

/// Who logged in, as the ID token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Login {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `sid`, where the issuer has such sessions (OpenID Connect Back-Channel Logout section 2.1).
    pub sid: Option<String>,
    /// The claims that the page is told.
    pub claims: Map<String, Value>,
}

/// A session.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Who logged in.
    pub login: Login,
    /// What goes upstream.
    pub access_token: AccessToken,
    /// What renews it.
    pub refresh_token: Option<String>,
    /// The issuer's own hint at who logs out.
    pub id_token: Option<String>,
    /// When the login was.
    pub created: SystemTime,
    /// When it was last seen to be used.
    pub used: SystemTime,
    /// The renewal that is under way, or that failed last.
    pub attempt: Option<Attempt>,
    /// Whether the last renewal brought a token that ends no later than the one before.
    stalled: bool,
    /// The last renewal that was made because the token was refused before its end.
    hastened: Option<Hastened>,
}

/// A renewal that was made because the token was refused before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Hastened {
    at: SystemTime,
    /// Whether a token was taken since.
    taken: bool,
}

/// A renewal that has not brought a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attempt {
    /// The issuer is being asked, or whoever asked is gone.
    UnderWay {
        /// Tells it from any other.
        by: [u8; 16],
        /// When it began.
        begun: SystemTime,
        /// How long it takes at most, to its last write.
        span: Duration,
    },
    /// The issuer could not be asked, gave no answer that counts, or refuses us.
    Failed {
        /// When that was seen.
        at: SystemTime,
        /// For how long nobody tries again, but for what is left out. This is what is doubled.
        pause: Duration,
        /// How much of that is left out, so that not all sessions come again together.
        left_out: Duration,
        /// Whether it may have exchanged the refresh token all the same, now or in a try before.
        unsure: bool,
    },
}

impl Attempt {
    /// A try at the time `at` that met trouble: the issuer may have seen the refresh token.
    pub fn troubled(at: SystemTime) -> Self {
        Self::Failed { at, pause: PAUSE, left_out: Duration::ZERO, unsure: true }
    }

    /// A try at the time `at` for which the issuer was not asked, after what came of the last one.
    pub fn kept_back(last: Option<&Self>, at: SystemTime) -> Self {
        let pause = last.map_or(PAUSE, Self::pause).max(PAUSE);
        Self::Failed { at, pause, left_out: Duration::ZERO, unsure: last.is_some_and(Self::is_unsure) }
    }

    /// A try at the time `at` for which the issuer refused us, after what came of the last one. Of the pause up to a quarter
    /// is left out at `random`.
    pub fn refused(last: Option<&Self>, at: SystemTime, random: u8) -> Self {
        let pause = last.map_or(PAUSE, |last| last.pause() * 2).clamp(PAUSE, LONGEST_PAUSE);
        let left_out = pause / 4 * u32::from(random) / u32::from(u8::MAX);
        Self::Failed { at, pause, left_out, unsure: last.is_some_and(Self::is_unsure) }
    }

    /// For how long nobody tries again after it.
    pub fn rest(&self) -> Duration {
        match self {
            Self::UnderWay { .. } => Duration::ZERO,
            Self::Failed { pause, left_out, .. } => pause.saturating_sub(*left_out),
        }
    }

    /// The same before anything was left out.
    fn pause(&self) -> Duration {
        match self {
            Self::UnderWay { .. } => Duration::ZERO,
            Self::Failed { pause, .. } => *pause,
        }
    }

    /// Whether the issuer may have exchanged the refresh token though nobody had its answer. Of one that is under way nobody
    /// knows: where it is not another's, whoever made it was broken off.
    pub fn is_unsure(&self) -> bool {
        match self {
            Self::UnderWay { .. } => true,
            Self::Failed { unsure, .. } => *unsure,
        }
    }
}

/// How an access token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Good for a while.
    Fresh,
    /// Good, and soon spent: to be renewed meanwhile.
    Ending,
    /// Its time is over: no request goes on with it.
    Spent,
}

/// Seals the sessions of one cookie.
#[derive(Debug, Clone)]
pub struct Sealer {
    /// The keys.
    pub ring: KeyRing,
    /// The cookie's name.
    pub cookie: String,
    /// The origin at which browsers send it.
    pub origin: String,
}

impl std::fmt::Debug for Session {
    /// Without the tokens, and without who it is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("access_token", &self.access_token).finish_non_exhaustive()
    }
}

impl Terms {
    /// How exactly it is noted when a session was last used.
    pub fn step(&self) -> Duration {
        (self.idle_timeout / 16).min(Duration::from_secs(60))
    }
}

impl Session {
    /// The session of a login at the time `now`.
    pub fn new(login: Login, granted: Granted, now: SystemTime) -> Self {
        let Granted { access_token, refresh_token, id_token } = granted;
        let (created, used, attempt, hastened) = (now, now, None, None);
        Self { login, access_token, refresh_token, id_token, created, used, attempt, stalled: false, hastened }
    }

    /// How long it still lasts if it is not used again; nothing where it is over.
    pub fn remains(&self, terms: &Terms, now: SystemTime) -> Duration {
        let left = |from: SystemTime, span: Duration| span.saturating_sub(since(from, now));
        left(self.created, terms.lifetime).min(left(self.used, terms.idle_timeout))
    }

    /// Whether it is to be noted that it was used.
    pub fn is_used_anew(&self, terms: &Terms, now: SystemTime) -> bool {
        since(self.used, now) >= terms.step()
    }

    /// How its access token stands.
    pub fn standing(&self, terms: &Terms, now: SystemTime) -> Standing {
        let token = &self.access_token;
        let Some(expires) = token.expires else { return Standing::Fresh };
        let left = since(now, expires);
        if left.is_zero() {
            return Standing::Spent;
        }
        let ahead = terms.refresh_before.min(since(token.received, expires) / 2);
        let renewable = self.refresh_token.is_some() && !self.stalled;
        if renewable && left <= ahead { Standing::Ending } else { Standing::Fresh }
    }

    /// Whether a try failed just now, so that it is too early for the next one.
    pub fn rests(&self, now: SystemTime) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|attempt| matches!(attempt, Attempt::Failed { at, .. } if lasts(*at, attempt.rest(), now)))
    }

    /// Whether the access token may be renewed because it is refused before its end.
    pub fn may_be_hastened(&self, now: SystemTime) -> bool {
        let may_again = |last: Hastened| last.taken && !lasts(last.at, HASTE, now);
        self.refresh_token.is_some() && self.hastened.is_none_or(may_again)
    }

    /// Whether the access token came instead of one that was refused, and it was not seen yet that this one is taken.
    pub fn is_doubtful(&self) -> bool {
        self.hastened.is_some_and(|last| !last.taken)
    }

    /// The session as it was renewed at the time `now` because its token was refused before its end.
    #[must_use]
    pub fn hastened(self, now: SystemTime) -> Self {
        // That the new one ends sooner than the old one was said to is no reason to let it end.
        Self { hastened: Some(Hastened { at: now, taken: false }), stalled: false, ..self }
    }

    /// The session whose access token was taken.
    #[must_use]
    pub fn taken(&self) -> Self {
        let hastened = self.hastened.map(|last| Hastened { taken: true, ..last });
        Self { hastened, ..self.clone() }
    }

    /// The session with an attempt, or what came of it.
    #[must_use]
    pub fn with_attempt(&self, attempt: Attempt) -> Self {
        Self { attempt: Some(attempt), ..self.clone() }
    }

    /// The session as it was used at the time `now`.
    #[must_use]
    pub fn used_at(&self, now: SystemTime) -> Self {
        Self { used: now.max(self.used), ..self.clone() }
    }

    /// The session with the tokens of a renewal.
    ///
    /// # Errors
    ///
    /// Says what is wrong with an ID token that came along: it is not of the same person (OpenID Connect Core section 12.2).
    pub fn renewed(&self, granted: Granted) -> Result<Self, &'static str> {
        let Granted { access_token, refresh_token, id_token } = granted;
        if let Some(token) = &id_token {
            let jwt = UnverifiedJwt::parse(token).map_err(|_| "its ID token cannot be read")?;
            self.login.is_told_by(&jwt.contents().claims)?;
        }
        let stalled = access_token.expires.is_some() && access_token.expires <= self.access_token.expires;
        let scope = access_token.scope.or_else(|| self.access_token.scope.clone());
        let access_token = AccessToken { scope, ..access_token };
        Ok(Self {
            used: access_token.received.max(self.used),
            refresh_token: refresh_token.or_else(|| self.refresh_token.clone()),
            id_token: id_token.or_else(|| self.id_token.clone()),
            login: self.login.clone(),
            created: self.created,
            attempt: None,
            hastened: self.hastened,
            access_token,
            stalled,
        })
    }
}

impl Login {
    /// Its signature is not looked at: it came from the issuer itself, by TLS, and nothing is learned from it.
    fn is_told_by(&self, claims: &Claims) -> Result<(), &'static str> {
        if claims.issuer().ok() != Some(&self.issuer) {
            return Err("its ID token is of another issuer");
        }
        let subject = claims.subject().ok().flatten();
        if subject == Some(&self.subject) { Ok(()) } else { Err("its ID token is of another subject") }
    }
}

impl Sealer {
    /// The session as it is stored; `nonce` is random. None where it cannot be written down: a time before 1970.
    pub fn seal(&self, session: &Session, cookie: &Cookie, nonce: [u8; NONCE]) -> Option<Vec<u8>> {
        let content = serde_json::to_vec(session).ok()?;
        self.ring.seal(&content, &self.bound(cookie), nonce)
    }

    /// The session that is stored for this cookie; none where it is another's, of another form, or was changed.
    pub fn open(&self, sealed: &[u8], cookie: &Cookie) -> Option<Session> {
        let content = self.ring.open(sealed, &self.bound(cookie))?;
        serde_json::from_slice(&content).ok()
    }

    fn bound<'a>(&'a self, cookie: &'a Cookie) -> Bound<'a> {
        Bound { what: FORM, cookie: &self.cookie, origin: &self.origin, id: cookie.id(), secret: cookie.secret() }
    }
}

/// Whether a span that began then is not over. A clock that was set back does not make it longer.
fn lasts(begun: SystemTime, span: Duration, now: SystemTime) -> bool {
    now >= begun && since(begun, now) < span
}

/// The time from one moment to a later one; none where that is the earlier one.
fn since(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

#[cfg(test)]
mod tests;
