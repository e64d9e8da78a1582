//! What a token says: its claims, each in the type that its standard gives it.
//!
//! A claim of the wrong type is an error and never read as absent: otherwise `"aud": 1` would be a token for everybody.

use std::fmt;

use super::json::{Json, Object};
use super::reject::Reject;

/// The claims of a token, not yet judged.
#[derive(Clone, PartialEq)]
pub struct Claims {
    object: Object,
    source: Source,
}

/// Who wrote the claims down: that decides where scopes and client stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The token itself (RFC 7519 section 4), in its issuer's dialect.
    Token,
    /// Its issuer, asked about it (RFC 7662 section 2.2).
    Introspection,
    /// Its issuer, as it granted an opaque token to us (RFC 6749 section 5.1).
    Granted,
}

impl fmt::Debug for Claims {
    /// The names only: values are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.object.iter().map(|(name, _)| name)).finish()
    }
}

impl Claims {
    /// Takes a decoded payload, or an answer about a token.
    pub fn new(object: Object, source: Source) -> Self {
        Self { object, source }
    }

    /// Who wrote them down.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The claim of exactly that name.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.object.get(name)
    }

    /// Whether the claim is present, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.object.has(name)
    }

    /// How many bytes of memory they hold.
    pub fn held_bytes(&self) -> usize {
        self.object.held_bytes()
    }

    /// The claims in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.object.iter()
    }

    /// `iss` (RFC 7519 section 4.1.1), which every token needs here.
    ///
    /// # Errors
    ///
    /// `claims_malformed` where it is missing or no string.
    pub fn issuer(&self) -> Result<&str, Reject> {
        self.string("iss")?.ok_or_else(|| malformed("iss", "is missing"))
    }

    /// `sub` (RFC 7519 section 4.1.2).
    ///
    /// # Errors
    ///
    /// `claims_malformed` where it is no string.
    pub fn subject(&self) -> Result<Option<&str>, Reject> {
        self.string("sub")
    }

    /// A claim that is a string where it is present.
    ///
    /// # Errors
    ///
    /// `claims_malformed` where it is of another type.
    pub fn string(&self, name: &str) -> Result<Option<&str>, Reject> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| malformed(name, "is not a string")),
        }
    }

    /// `exp` (RFC 7519 section 4.1.4), which every token needs here.
    ///
    /// # Errors
    ///
    /// `claims_malformed` where it is missing or no date.
    pub fn expiry(&self) -> Result<NumericDate, Reject> {
        self.date("exp")?.ok_or_else(|| malformed("exp", "is missing"))
    }

    /// A claim that is a date where it is present.
    ///
    /// # Errors
    ///
    /// `claims_malformed` where it is no number, negative, or beyond 2^53 seconds.
    pub fn date(&self, name: &str) -> Result<Option<NumericDate>, Reject> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let Json::Number(number) = value else { return Err(malformed(name, "is not a number")) };
        let seconds = number.as_f64().ok_or_else(|| malformed(name, "is not a number"))?;
        NumericDate::new(seconds).map(Some).ok_or_else(|| malformed(name, "is not between 0 and 2^53 seconds"))
    }

    /// `aud` (RFC 7519 section 4.1.3): absent, one string, or several.
    ///
    /// # Errors
    ///
    /// `claims_malformed` where it is of another type, or an item is.
    pub fn audience(&self) -> Result<Strings<'_>, Reject> {
        match self.get("aud") {
            None => Ok(Strings::Absent),
            Some(value) => {
                Strings::whole(value).ok_or_else(|| malformed("aud", "is not a string or an array of strings"))
            }
        }
    }

    /// The scopes, from the first of `sources` that is present and not empty. Sources are never joined.
    ///
    /// # Errors
    ///
    /// `claims_malformed` where that source is neither a string nor an array of strings.
    pub fn scopes<S: AsRef<str>>(&self, sources: &[S]) -> Result<Strings<'_>, Reject> {
        for source in sources {
            let Some(value) = self.get(source.as_ref()) else { continue };
            let scopes = Strings::split(value)
                .ok_or_else(|| malformed(source.as_ref(), "is not a string or an array of strings"))?;
            if scopes.iter().next().is_some() {
                return Ok(scopes);
            }
        }
        Ok(Strings::Absent)
    }
}

/// A claim that is a string or an array of strings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strings<'a> {
    /// Not there, or empty.
    Absent,
    /// One string, whole.
    One(&'a str),
    /// Values with U+0020 between them (RFC 6749 section 3.3); nothing else separates.
    Spaced(&'a str),
    /// An array, of which each item was seen to be a string.
    Many(&'a [Json]),
}

impl<'a> Strings<'a> {
    fn whole(value: &'a Json) -> Option<Self> {
        Self::read(value, Self::One)
    }

    fn split(value: &'a Json) -> Option<Self> {
        Self::read(value, Self::Spaced)
    }

    fn read(value: &'a Json, text: fn(&'a str) -> Self) -> Option<Self> {
        match value {
            Json::String(value) => Some(text(value)),
            Json::Array(items) if items.iter().all(|item| item.as_str().is_some()) => Some(Self::Many(items)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// The values that are not empty.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let (one, spaced, many): (Option<&'a str>, &'a str, &'a [Json]) = match self {
            Self::Absent => (None, "", &[]),
            Self::One(text) => (Some(text), "", &[]),
            Self::Spaced(text) => (None, text, &[]),
            Self::Many(items) => (None, "", items),
        };
        one.into_iter()
            .chain(spaced.split(' '))
            .chain(many.iter().filter_map(Json::as_str))
            .filter(|value| !value.is_empty())
    }

    /// Whether one value equals `wanted`, byte for byte.
    pub fn contains(self, wanted: &str) -> bool {
        self.iter().any(|value| value == wanted)
    }
}

/// Seconds since 1970-01-01T00:00:00Z, leap seconds ignored; fractions are allowed (RFC 7519 section 2).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct NumericDate(f64);

impl NumericDate {
    /// The largest value: beyond it a double no longer holds every second.
    const MAX: f64 = 9_007_199_254_740_992.0;

    /// None where `seconds` is negative, beyond 2^53 or not finite.
    pub fn new(seconds: f64) -> Option<Self> {
        (0.0..=Self::MAX).contains(&seconds).then_some(Self(seconds))
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> f64 {
        self.0
    }

    /// That many seconds later.
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a leeway is at most some minutes")]
        let seconds = seconds as f64;
        Self(self.0 + seconds)
    }
}

impl From<std::time::SystemTime> for NumericDate {
    /// A time before 1970 counts as 1970.
    fn from(time: std::time::SystemTime) -> Self {
        Self(time.duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()))
    }
}

impl fmt::Display for NumericDate {
    /// RFC 3339 in UTC, or plain seconds beyond its years.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^53, by construction")]
        let whole = self.0 as i64;
        match jiff::Timestamp::from_second(whole) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "{} s after 1970", self.0),
        }
    }
}

/// Names a claim: literally, or by JSON Pointer (RFC 6901) where the text begins with `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimPath {
    text: String,
    tokens: Vec<String>,
}

impl ClaimPath {
    /// Reads a name or a pointer.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let tokens = match text.strip_prefix('/') {
            None if text.is_empty() => return Err("is empty; name a claim"),
            None => vec![text.to_owned()],
            Some(pointer) => pointer.split('/').map(unescape).collect::<Result<_, _>>()?,
        };
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// Whether it is literally that name.
    pub fn is(&self, name: &str) -> bool {
        self.text == name
    }

    /// The value it names in `claims`.
    pub fn find<'a>(&self, claims: &'a Claims) -> Option<&'a Json> {
        let (first, rest) = self.tokens.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, token| match value {
            Json::Object(object) => object.get(token),
            Json::Array(items) => items.get(array_index(token)?),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
        })
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// RFC 6901 section 4: `~1` is `/`, `~0` is `~`, and no other `~` may stand.
fn unescape(token: &str) -> Result<String, &'static str> {
    let mut rest = token.chars();
    let mut plain = String::with_capacity(token.len());
    while let Some(character) = rest.next() {
        plain.push(match character {
            '~' => match rest.next() {
                Some('0') => '~',
                Some('1') => '/',
                Some(_) | None => return Err("is no JSON Pointer: write `~0` for `~` and `~1` for `/`"),
            },
            other => other,
        });
    }
    Ok(plain)
}

/// RFC 6901 section 4: digits without a leading zero.
fn array_index(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    plain.then(|| token.parse().ok()).flatten()
}

/// The refusal of a claim that is missing or of the wrong type.
pub(crate) fn malformed(claim: &str, problem: &'static str) -> Reject {
    Reject::ClaimsMalformed { claim: claim.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Claims {
        Claims::new(Object::parse_strict(text.as_bytes()).unwrap(), Source::Token)
    }

    #[test]
    fn dates_are_numbers_between_zero_and_two_to_the_53rd() {
        for (text, good) in [
            ("1", true),
            ("1.5", true),
            ("0", true),
            ("9007199254740992", true),
            ("9007199254740993", true), // the nearest double is 2^53
            ("9007199254740994", false),
            ("1e300", false),
            ("-1", false),
            ("-0.5", false),
            ("\"1\"", false),
            ("true", false),
            ("null", false),
            ("[1]", false),
            ("{}", false),
        ] {
            assert_eq!(claims(&format!("{{\"exp\":{text}}}")).expiry().is_ok(), good, "{text}");
        }
        assert_eq!(claims("{}").expiry(), Err(malformed("exp", "is missing")));
    }

    #[test]
    fn scopes_split_at_the_blank_alone_and_come_from_one_source() {
        let values = |text: &str, sources: &[&str]| {
            claims(text).scopes(sources).map(|scopes| scopes.iter().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(values(r#"{"scope":"a b  c"}"#, &["scope"]), Ok(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(values(r#"{"scope":"a\tb a,b a\u00a0b"}"#, &["scope"]).unwrap(), ["a\tb", "a,b", "a\u{a0}b"]);
        assert_eq!(values(r#"{"scope":["a","b c"]}"#, &["scope"]).unwrap(), ["a", "b c"]);
        assert_eq!(values(r#"{"scope":"","permissions":["p"]}"#, &["scope", "permissions"]).unwrap(), ["p"]);
        assert_eq!(values(r#"{"scope":"a","permissions":["p"]}"#, &["scope", "permissions"]).unwrap(), ["a"]);
        assert_eq!(values("{}", &["scope"]).unwrap(), [""; 0]);
        for wrong in ["1", "null", "{}", "[1]", "[\"a\",null]", "true"] {
            assert!(values(&format!("{{\"scope\":{wrong}}}"), &["scope"]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_is_a_literal_name_or_a_pointer() {
        let claims = claims(r#"{"a/b":1,"a":{"b":[10,{"~x":2}]},"https://x/y":3}"#);
        let find = |path: &str| ClaimPath::parse(path).unwrap().find(&claims).map(ToString::to_string);
        assert_eq!(find("a/b").as_deref(), Some("1"));
        assert_eq!(find("/a~1b").as_deref(), Some("1"));
        assert_eq!(find("/a/b/0").as_deref(), Some("10"));
        assert_eq!(find("/a/b/1/~0x").as_deref(), Some("2"));
        assert_eq!(find("https://x/y").as_deref(), Some("3"));
        assert_eq!(find("/a/b/00"), None);
        assert_eq!(find("/a/c"), None);
        assert!(ClaimPath::parse("/a~2").is_err());
        assert!(ClaimPath::parse("").is_err());
    }
}
