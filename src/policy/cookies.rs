//! Cookies as they stand in a request's head and in ours (RFC 6265bis): which value a name has, ours out of what goes
//! upstream and out of what an upstream sets, and how ours are set.
//!
//! 1. A name that stands twice has no value: a browser sends the cookies of a wider path or an older page beside ours, and
//!    which of the two somebody planted cannot be seen.
//! 2. Names are compared byte by byte. Nothing is decoded, and a value that is no text is none of ours.
//! 3. Ours are for this host alone, within TLS alone, and out of reach for scripts. Nobody else sets them: who can give a
//!    browser a session of his own choice sees what is done in it.

use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

/// What stands between the name of a session's cookie and what tells apart those of the logins on their way to one.
pub const LOGIN: &str = "-login-";

/// When a browser sends a cookie with requests that pages of other sites cause (RFC 6265bis section 5.6.7). `strict` is
/// none of them: a browser that comes back from its issuer would not send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Only when the user goes to our pages.
    Lax,
    /// With each request.
    None,
}

impl SameSite {
    /// The word in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lax => "lax",
            Self::None => "none",
        }
    }

    /// The value of the attribute.
    fn attribute(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing.
    Nothing,
    /// One value.
    One(&'a str),
    /// Several values, or one that is no text.
    Unclear,
}

/// The value of the cookie of that name.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let mut values = pairs(headers).filter(|(own, _)| *own == name.as_bytes()).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Found::Nothing,
        (Some(value), None) => std::str::from_utf8(value).map_or(Found::Unclear, Found::One),
        (Some(_), Some(_)) => Found::Unclear,
    }
}

/// The cookies of logins on their way to a session whose cookie has that name, as they stand there; none that is no text.
pub fn logins<'a>(headers: &'a HeaderMap, session: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let own = pairs(headers).filter(move |(name, _)| is_login(name, session));
    own.filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)))
}

/// Takes the cookies of sessions of these names out, with those of the logins to them, and leaves every other byte as it was.
pub fn cut(headers: &mut HeaderMap, sessions: &[String]) {
    let is_ours = |pair: &[u8]| owner(named(pair).0, sessions).is_some();
    if !headers.get_all(COOKIE).iter().any(|field| split(field).any(is_ours)) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|field| {
            let pairs: Vec<&[u8]> = split(field).filter(|pair| !is_ours(pair)).collect();
            // A part of a value is a value again; the fallback only keeps this function total.
            HeaderValue::from_bytes(pairs.join(b";".as_slice()).trim_ascii()).ok().filter(|rest| !rest.is_empty())
        })
        .collect();
    headers.remove(COOKIE);
    for field in kept {
        headers.append(COOKIE, field);
    }
}

/// Takes the fields out of an answer by which a browser would keep a cookie of sessions of these names, or of a login to one;
/// the others stay as they are. Says which session's it was, where there was one.
pub fn withhold<'s>(headers: &mut HeaderMap, sessions: &'s [String]) -> Option<&'s str> {
    let owner = |field: &HeaderValue| owner(kept_name(field), sessions);
    let withheld = headers.get_all(SET_COOKIE).iter().find_map(owner)?;
    let kept: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).iter().filter(|field| owner(field).is_none()).cloned().collect();
    headers.remove(SET_COOKIE);
    for field in kept {
        headers.append(SET_COOKIE, field);
    }
    Some(withheld)
}

/// The field that has a browser keep a cookie for `life`.
pub fn set(name: &str, value: &str, same_site: SameSite, life: Duration) -> Option<HeaderValue> {
    let attributes =
        format!("Path=/; Max-Age={}; Secure; HttpOnly; SameSite={}", life.as_secs(), same_site.attribute());
    let mut field = HeaderValue::try_from(format!("{name}={value}; {attributes}")).ok()?;
    field.set_sensitive(true);
    Some(field)
}

/// The field that has a browser forget a cookie. It takes none of a `__Host-` name that lacks what all of them have.
pub fn unset(name: &str, same_site: SameSite) -> Option<HeaderValue> {
    set(name, "", same_site, Duration::ZERO)
}

/// The session of these whose cookie has that name, or to which a login's has.
fn owner<'s>(name: &[u8], sessions: &'s [String]) -> Option<&'s str> {
    let mut names = sessions.iter().map(String::as_str);
    names.find(|session| name == session.as_bytes() || is_login(name, session))
}

/// The name under which a browser will send the cookie that a field sets. One without a name is sent as its value alone (RFC
/// 6265bis section 5.8.3), and that may look like a name and a value.
fn kept_name(field: &HeaderValue) -> &[u8] {
    let pair = split(field).next().unwrap_or_default();
    match named(pair) {
        (b"", value) => named(value).0,
        (name, _) => name,
    }
}

fn is_login(name: &[u8], session: &str) -> bool {
    name.strip_prefix(session.as_bytes()).is_some_and(|rest| rest.starts_with(LOGIN.as_bytes()))
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(split).map(named)
}

fn split(field: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    field.as_bytes().split(|byte| *byte == b';')
}

/// Name and value; a pair without `=` is a value without a name (RFC 6265bis section 5.6).
fn named(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()),
        None => (b"", pair.trim_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = &'a [&'a [u8]];

    fn headers(fields: Fields<'_>) -> HeaderMap {
        fields.iter().map(|field| (COOKIE, HeaderValue::from_bytes(field).unwrap())).collect()
    }

    #[test]
    fn a_name_has_one_value_or_none() {
        let cases: &[(Fields<'_>, Found<'_>)] = &[
            (&[], Found::Nothing),
            (&[b"a=1; b=2"], Found::Nothing),
            (&[b"a=1; s=x; b=2"], Found::One("x")),
            (&[b"a=1", b" s = x "], Found::One("x")),
            (&[b"s=a=b"], Found::One("a=b")),
            (&[b"s="], Found::One("")),
            (&[b"s=x; s=x"], Found::Unclear),
            (&[b"s=x", b"s=y"], Found::Unclear),
            (&[b"s=\xff"], Found::Unclear),
            (&[b"S=x; ss=x; s"], Found::Nothing),
        ];
        for (fields, expected) in cases {
            assert_eq!(find(&headers(fields), "s"), *expected, "{fields:?}");
        }
    }

    #[test]
    fn only_ours_are_cut() {
        let names = ["s".to_owned()];
        let cases: &[(Fields<'_>, Fields<'_>)] = &[
            (&[b"a=1; b=2"], &[b"a=1; b=2"]),
            (&[b"s=x"], &[]),
            (&[b"s=x; a=1; s-login-1=y; s-login-=z; b=\xff"], &[b"a=1; b=\xff"]),
            (&[b"s-login=x; s-log=y; t-login-1=z"], &[b"s-login=x; s-log=y; t-login-1=z"]),
            (&[b"a=1;s=x;b=2"], &[b"a=1;b=2"]),
            (&[b"s=x; s=y", b"a=1"], &[b"a=1"]),
            (&[b"ss=1; S=2; s"], &[b"ss=1; S=2; s"]),
        ];
        for (fields, expected) in cases {
            let mut found = headers(fields);
            cut(&mut found, &names);
            assert_eq!(found, headers(expected), "{fields:?}");
        }
    }

    #[test]
    fn nobody_else_sets_ours() {
        let names = ["r".to_owned(), "s".to_owned()];
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"s=x", Some("s")),
            (b"r=", Some("r")),
            (b" s\t= x; Path=/; Max-Age=0", Some("s")),
            (b"s-login-AAAAAAAA=x", Some("s")),
            (b"=s=x; Secure", Some("s")),
            (b"=s-login-=x", Some("s")),
            (b"s", None),
            (b"=s", None),
            (b"==s=x", None),
            (b"S=x", None),
            (b"ss=x", None),
            (b"s-login=x", None),
            (b"a=s=x", None),
            (b"a=1; s=x", None),
            (b"a=1, s=x", None),
            (b"\xff=1", None),
            (b"", None),
        ];
        for (field, expected) in cases {
            let others: [&[u8]; 2] = [b"a=1;  Path=/ ;;HttpOnly", b"b=\xff"];
            let set = |fields: &[&[u8]]| -> HeaderMap {
                fields.iter().map(|field| (SET_COOKIE, HeaderValue::from_bytes(field).unwrap())).collect()
            };
            let mut found = set(&[others[0], field, others[1]]);
            assert_eq!(withhold(&mut found, &names), *expected, "{field:?}");
            let left = if expected.is_some() { set(&others) } else { set(&[others[0], field, others[1]]) };
            assert_eq!(found, left, "{field:?}");
        }
    }

    #[test]
    fn ours_are_for_this_host_within_tls_and_not_for_scripts() {
        let field = set("__Host-s", "x", SameSite::Lax, Duration::from_secs(60)).unwrap();
        assert_eq!(field, "__Host-s=x; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax");
        let field = unset("__Host-s", SameSite::None).unwrap();
        assert_eq!(field, "__Host-s=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=None");
    }
}
