//! A login on its way: what a browser takes to its issuer and brings back (OpenID Connect Core section 3.1, RFC 7636).
//!
//! 1. Each attempt has a secret of its own. `state`, `nonce` and the PKCE verifier are made of it, so that none of them
//!    tells another: HMAC-SHA-256 of what it is.
//! 2. Each attempt lies in a cookie of its own, sealed. So several tabs can log in at once: where all begin together none of
//!    the answers takes back what another one set. A browser is to keep [`Attempt::MOST`], which together are no longer than
//!    one cookie can be; the oldest go first. Each holds for [`Attempt::LIFE`].
//! 3. What comes back is of this browser only where it has the attempt of that `state`, and counts once.
//! 4. `iss`, where it is there, is the issuer's own name; where the issuer announces it, it must be there (RFC 9207 section
//!    2.4). That is looked at before anything else of the answer is believed.
//! 5. A return address is a path of this origin. What a browser, or a server behind us, could read as another place is
//!    replaced by `/`; so is a path of our own.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use super::cookies::{self, Found};
use super::reject::{Quoted, Reject};
use super::seal::{Bound, KeyRing, NONCE};
use super::site::Site;

/// What is sealed, and in which form.
const FORM: &str = "bearward login 2";

/// One login on its way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    secret: String,
    return_to: String,
    /// Seconds since 1970.
    begun: u64,
}

impl Attempt {
    /// How many random bytes one takes.
    pub const RANDOM: usize = 32;

    /// How long one holds.
    pub const LIFE: Duration = Duration::from_secs(600);

    /// How many a browser has.
    pub const MOST: usize = 5;

    /// How long their cookies' values are together: what browsers keep of one cookie is 4096 bytes, its name included.
    const LENGTH: usize = 3900;

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

    /// Whether it is the one of that `state`.
    fn is_of(&self, state: &str) -> bool {
        constant_time::verify_slices_are_equal(self.state().as_bytes(), state.as_bytes()).is_ok()
    }

    /// The one in the value of a browser's cookie; none where that is not ours, or it holds no more.
    fn open(value: &str, ring: &KeyRing, site: &Site, now: SystemTime) -> Option<Self> {
        let sealed = if value.len() > Self::LENGTH { None } else { URL_SAFE_NO_PAD.decode(value).ok() };
        let opened = ring.open(&sealed?, &bound(site))?;
        serde_json::from_slice(&opened).ok().filter(|attempt: &Self| attempt.holds(now))
    }

    /// The value of its cookie. `nonce` is random.
    pub fn seal(&self, ring: &KeyRing, site: &Site, nonce: [u8; NONCE]) -> Option<String> {
        let content = serde_json::to_vec(self).ok()?;
        Some(URL_SAFE_NO_PAD.encode(ring.seal(&content, &bound(site), nonce)?))
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

/// It is opened by whoever has it: that it is the same browser is what it shows.
fn bound(site: &Site) -> Bound<'_> {
    Bound { what: FORM, cookie: &site.cookie, origin: &site.origin, id: b"", secret: b"" }
}

/// How many cookies of logins are looked at.
const MOST_SEEN: usize = 64;

/// The names of the cookies that a browser is to forget when it gets one more, with a value of that length.
pub fn outgrown(headers: &HeaderMap, ring: &KeyRing, site: &Site, now: SystemTime, length: usize) -> Vec<String> {
    let seen = cookies::logins(headers, &site.cookie).take(MOST_SEEN);
    let mut held: Vec<_> = seen
        .filter_map(|(name, value)| Some((Attempt::open(value, ring, site, now)?.begun, name, value.len())))
        .collect();
    // The newest first. A browser sends first what it has kept for longest (RFC 6265 section 5.4).
    held.reverse();
    held.sort_by_key(|(begun, ..)| Reverse(*begun));
    let (mut count, mut length) = (1, length);
    let too_many = |(_, name, own): (u64, &str, usize)| {
        (count, length) = (count + 1, length + own);
        (count > Attempt::MOST || length > Attempt::LENGTH).then(|| name.to_owned())
    };
    held.into_iter().filter_map(too_many).collect()
}

/// The attempt that a browser comes back from with that query: it has it, and that is of the `state`.
pub fn attempt(query: &str, headers: &HeaderMap, ring: &KeyRing, site: &Site, now: SystemTime) -> Option<Attempt> {
    let state = single(query, "state").ok()??;
    match cookies::find(headers, &site.login_cookie(&state)) {
        Found::One(value) => Attempt::open(value, ring, site, now).filter(|attempt| attempt.is_of(&state)),
        Found::Nothing | Found::Unclear => None,
    }
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
/// `attempt` is the one of this browser that has the query's `state`, `issuer` the names that the issuer goes by, `announced`
/// whether it says that it names itself.
///
/// # Errors
///
/// `login_state_invalid`, and `login_refused` where the issuer says so.
pub fn returned(query: &str, attempt: Option<Attempt>, issuer: &[String], announced: bool) -> Result<Returned, Reject> {
    let parameter = |name: &'static str| single(query, name);
    parameter("state")?.ok_or(Reject::LoginStateInvalid { why: "there is no `state`" })?;
    let attempt = attempt.ok_or(Reject::LoginStateInvalid {
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
