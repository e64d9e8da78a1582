//! A login on its way: what a browser takes to its issuer and brings back (OpenID Connect Core section 3.1, RFC 7636).
//!
//! 1. Each attempt has a secret of its own. `state`, `nonce` and the PKCE verifier are made of it, so that none of them
//!    tells another: HMAC-SHA-256 of what it is.
//! 2. The attempts of a browser lie in one cookie of theirs, sealed: at most [`Attempts::MOST`], and no more than a cookie
//!    holds; the oldest go first. So several tabs can log in at once. Each holds for [`Attempt::LIFE`].
//! 3. What comes back is of this browser only where it has the attempt of that `state`, and counts once.
//! 4. `iss`, where it is there, is the issuer's own name; where the issuer announces it, it must be there (RFC 9207 section
//!    2.4). That is looked at before anything else of the answer is believed.
//! 5. A return address is a path of this origin. What a browser, or a server behind us, could read as another place is
//!    replaced by `/`; so is a path of our own.

use std::time::{Duration, SystemTime};

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use super::reject::{Quoted, Reject};
use super::seal::{Bound, KeyRing, NONCE};
use super::site::Site;

/// What is sealed, and in which form.
const FORM: &str = "bearward login 1";

/// One login on its way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    secret: String,
    return_to: String,
    /// Seconds since 1970.
    begun: u64,
}

/// The logins of one browser that are on their way, the oldest first.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts(Vec<Attempt>);

impl Attempt {
    /// How many random bytes one takes.
    pub const RANDOM: usize = 32;

    /// How long one holds.
    pub const LIFE: Duration = Duration::from_secs(600);

    /// An attempt of bytes that nobody can guess, for a browser that is to come back to `return_to`.
    pub fn new(random: [u8; Self::RANDOM], return_to: String, now: SystemTime) -> Self {
        Self { secret: URL_SAFE_NO_PAD.encode(random), return_to, begun: seconds(now) }
    }

    /// What comes back with the browser (RFC 6749 section 4.1.1).
    pub fn state(&self) -> String {
        self.made("state")
    }

    /// What comes back within the ID token (OpenID Connect Core section 3.1.2.1).
    pub fn nonce(&self) -> String {
        self.made("nonce")
    }

    /// What only we can show with the code (RFC 7636 section 4.1).
    pub fn verifier(&self) -> String {
        self.made("verifier")
    }

    /// What the issuer is told of it beforehand (RFC 7636 section 4.2).
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.verifier().as_bytes()))
    }

    /// Where the browser is to come back to.
    pub fn return_to(&self) -> &str {
        &self.return_to
    }

    fn made(&self, what: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, what.as_bytes()))
    }

    /// It may have begun at a replica whose clock is ahead of ours.
    fn holds(&self, now: SystemTime) -> bool {
        seconds(now).abs_diff(self.begun) < Self::LIFE.as_secs()
    }
}

impl Attempts {
    /// How many a browser can have.
    pub const MOST: usize = 5;

    /// How long the value of their cookie can be: what browsers keep of one is 4096 bytes, its name included.
    const LENGTH: usize = 3900;

    /// Those in the value of a browser's cookie that still hold; none where it is not ours.
    pub fn open(value: &str, ring: &KeyRing, site: &Site, now: SystemTime) -> Self {
        let sealed = if value.len() > Self::LENGTH { None } else { URL_SAFE_NO_PAD.decode(value).ok() };
        let opened = sealed.and_then(|sealed| ring.open(&sealed, &bound(site, &site.login_cookie())));
        let mut attempts: Self = opened.and_then(|opened| serde_json::from_slice(&opened).ok()).unwrap_or_default();
        attempts.0.retain(|attempt| attempt.holds(now));
        attempts
    }

    /// These and a new one.
    #[must_use]
    pub fn with(mut self, attempt: Attempt) -> Self {
        self.0.push(attempt);
        let more = self.0.len().saturating_sub(Self::MOST);
        self.0.drain(..more);
        self
    }

    /// Takes out the attempt of that state.
    pub fn take(&mut self, state: &str) -> Option<Attempt> {
        let same = |attempt: &Attempt| {
            constant_time::verify_slices_are_equal(attempt.state().as_bytes(), state.as_bytes()).is_ok()
        };
        let at = self.0.iter().position(same)?;
        Some(self.0.remove(at))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of their cookie, less the oldest that it cannot hold. `nonce` is random.
    pub fn seal(mut self, ring: &KeyRing, site: &Site, nonce: [u8; NONCE]) -> Option<String> {
        loop {
            let content = serde_json::to_vec(&self).ok()?;
            let value = URL_SAFE_NO_PAD.encode(ring.seal(&content, &bound(site, &site.login_cookie()), nonce)?);
            if value.len() <= Self::LENGTH {
                return Some(value);
            }
            self.0.drain(..1);
        }
    }
}

/// They are opened by whoever has them: that it is the same browser is what they show.
fn bound<'a>(site: &'a Site, cookie: &'a str) -> Bound<'a> {
    Bound { what: FORM, cookie, origin: &site.origin, id: b"", secret: b"" }
}

/// Where a browser is to come back to that asks for a login by that query: `/` where it does not say. None where it asks for
/// anything but one page of this origin.
pub fn return_to(query: &str, site: &Site) -> Option<String> {
    let mut asked = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "return_to");
    match (asked.next(), asked.next()) {
        (None, _) => Some("/".to_owned()),
        (Some((_, address)), None) => return_address(&address, site),
        (Some(_), Some(_)) => None,
    }
}

/// The longest return address, in bytes.
const LONGEST_RETURN: usize = 2048;

/// A return address that leads to nowhere but a page of this origin: by rule 5, else none.
fn return_address(text: &str, site: &Site) -> Option<String> {
    let plain = text.len() <= LONGEST_RETURN && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let rest = text.strip_prefix('/').filter(|rest| plain && !rest.starts_with('/'))?;
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let decoded = percent_decoded(path)?;
    let read_otherwise = decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\')
        || decoded.starts_with(b"/")
        || decoded.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..");
    let own = site.path.trim_start_matches('/').as_bytes();
    let is_own = decoded.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    // What browsers make of it has the last word (WHATWG URL).
    let leads = Url::parse(&site.origin).ok()?.join(text).ok()?;
    let stays = leads.origin().ascii_serialization() == site.origin && leads.username().is_empty();
    (!read_otherwise && !is_own && stays).then(|| text.to_owned())
}

/// How often a path may have been encoded over again. The gateway itself takes no path that was twice.
const MOST_ENCODED: usize = 4;

/// Decoded until nothing is left to decode: some server may do so. None where that does not come soon, which would be much
/// work for a few bytes.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=MOST_ENCODED {
        let mut decoded = Vec::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        while let Some((byte, after)) = rest.split_first() {
            let encoded = (*byte == b'%').then(|| after.get(..2)).flatten().and_then(|two| {
                u8::from_str_radix(std::str::from_utf8(two).ok().filter(|two| !two.starts_with('+'))?, 16).ok()
            });
            decoded.push(encoded.unwrap_or(*byte));
            rest = if encoded.is_some() { &after[2..] } else { after };
        }
        if decoded == bytes {
            return Some(bytes);
        }
        bytes = decoded;
    }
    None
}

/// What an issuer is asked for a login.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The client that the browser logs in to.
    pub client_id: &'a str,
    /// The scopes.
    pub scopes: &'a [String],
    /// What the operator adds; none of ours.
    pub parameters: &'a [(String, String)],
}

impl Request<'_> {
    /// Where the browser is sent (RFC 6749 section 4.1.1, RFC 7636 section 4.3).
    pub fn address(&self, endpoint: &Url, site: &Site, attempt: &Attempt) -> Url {
        let mut url = endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", self.client_id)
            .append_pair("redirect_uri", &site.redirect_uri())
            .append_pair("scope", &self.scopes.join(" "))
            .append_pair("state", &attempt.state())
            .append_pair("nonce", &attempt.nonce())
            .append_pair("code_challenge", &attempt.challenge())
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(self.parameters);
        url
    }
}

/// What a browser brought back, and the attempt that it belongs to.
pub struct Returned {
    /// The attempt; it is over.
    pub attempt: Attempt,
    /// The authorization code.
    pub code: String,
}

/// Reads what a browser brought back in the query of the callback (RFC 6749 sections 4.1.2 and 4.1.2.1).
///
/// `issuer` is the names that the issuer goes by, `announced` whether it says that it names itself.
///
/// # Errors
///
/// `login_state_invalid`, and `login_refused` where the issuer says so.
pub fn returned(query: &str, attempts: &mut Attempts, issuer: &[String], announced: bool) -> Result<Returned, Reject> {
    let parameter = |name: &'static str| single(query, name);
    let state = parameter("state")?.ok_or(Reject::LoginStateInvalid { why: "there is no `state`" })?;
    let attempt = attempts.take(&state).ok_or(Reject::LoginStateInvalid {
        why: "this browser has no login of that `state`: it was used, is older than 10 minutes, or is another's",
    })?;
    match parameter("iss")? {
        Some(iss) if !issuer.contains(&iss) => {
            return Err(Reject::LoginStateInvalid { why: "`iss` is another issuer's" });
        }
        None if announced => {
            return Err(Reject::LoginStateInvalid { why: "there is no `iss`, which the issuer announces" });
        }
        Some(_) | None => {}
    }
    if let Some(error) = parameter("error")? {
        let description = parameter("error_description")?.map(|text| Quoted::from(text.as_str()));
        return Err(Reject::LoginRefused { error: Quoted::from(error.as_str()), description });
    }
    let code = parameter("code")?.filter(|code| !code.is_empty());
    Ok(Returned { attempt, code: code.ok_or(Reject::LoginStateInvalid { why: "there is no `code`" })? })
}

/// RFC 6749 section 3.1: a parameter stands once.
fn single(query: &str, name: &'static str) -> Result<Option<String>, Reject> {
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(own, _)| own == name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|(_, value)| value.into_owned())),
        (_, Some(_)) => Err(Reject::LoginStateInvalid { why: "a parameter stands twice" }),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
