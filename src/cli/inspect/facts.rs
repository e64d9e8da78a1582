//! What stands in a token, fact by fact: each once, as text for people and as a value for machines.

use serde_json::{Value, json};

use super::signature::Trust;
use crate::policy::claims::{NumericDate, Strings};
use crate::policy::dialect::{DIALECTS, Dialect};
use crate::policy::issuer::{Issuer, Recognition};
use crate::policy::json::Json;
use crate::policy::jwt::{Contents, Header};
use crate::policy::kind::{self, TokenKind};
use crate::policy::reject::{Quoted, Reject};

/// One thing that a token says.
pub(super) struct Fact {
    /// What it is about.
    pub(super) name: &'static str,
    /// For people: a line, or several.
    pub(super) lines: Vec<String>,
    /// For machines.
    pub(super) value: Value,
}

impl Fact {
    pub(super) fn new(name: &'static str, line: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { name, lines: vec![line.into()], value: value.into() }
    }

    /// A string of the token, or none; or what is wrong with it.
    pub(super) fn text(name: &'static str, found: Result<Option<&str>, Reject>) -> Self {
        match found {
            Ok(Some(text)) => Self::new(name, Quoted::from(text).to_string(), text),
            Ok(None) => Self::new(name, "none", Value::Null),
            Err(reject) => Self::wrong(name, &reject),
        }
    }

    /// Strings of the token; or what is wrong with them.
    fn list(name: &'static str, found: Result<Strings<'_>, Reject>) -> Self {
        match found {
            Ok(values) => {
                let shown: Vec<_> = values.iter().map(|value| Quoted::from(value).to_string()).collect();
                let line = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") };
                Self::new(name, line, values.iter().collect::<Vec<_>>())
            }
            Err(reject) => Self::wrong(name, &reject),
        }
    }

    /// A date of the token, and how far it is from now; or what is wrong with it.
    fn date(name: &'static str, found: Result<Option<NumericDate>, Reject>, now: NumericDate, past: &str) -> Self {
        match found {
            Ok(Some(at)) => {
                let span = at.seconds() - now.seconds();
                let relative =
                    if span > 0.0 { format!("in {}", length(span)) } else { format!("{past}{} ago", length(-span)) };
                let note = if at.seconds() < FAR { "" } else { "; a date is in seconds, and this may be milliseconds" };
                let value = json!({ "utc": at.to_string(), "relative": relative });
                Self::new(name, format!("{at}, {relative}{note}"), value)
            }
            Ok(None) => Self::new(name, "none", Value::Null),
            Err(reject) => Self::wrong(name, &reject),
        }
    }

    fn wrong(name: &'static str, reject: &Reject) -> Self {
        Self::new(name, format!("WRONG: {}", reject.cause()), json!({ "wrong": reject.cause() }))
    }
}

/// The year 3000 in seconds; the year 2001 in milliseconds is beyond it.
const FAR: f64 = 32_503_680_000.0;

/// The facts of a token that could be read.
pub(super) fn facts(contents: &Contents, trust: &Trust, now: NumericDate) -> Vec<Fact> {
    let Contents { header, claims } = contents;
    let own = trust.issuer(claims).map(|(issuer, _)| issuer);
    let mut facts = kind(contents, own, trust);
    let general = Issuer::general(String::new());
    let scopes = own.map_or_else(|| claims.scopes(&["scope", "scp"]), |issuer| issuer.scopes(claims));
    facts.extend([
        Fact::text("issuer", claims.string("iss")),
        Fact::text("subject", claims.subject()),
        Fact::text("client", own.unwrap_or(&general).client(claims)),
        Fact::list("audience", claims.audience()),
        Fact::list("scopes", scopes),
        Fact::date("issued", claims.date("iat"), now, ""),
        Fact::date("valid from", claims.date("nbf"), now, ""),
        Fact::date("expires", claims.date("exp"), now, "expired "),
        Fact::text("algorithm", Ok(header.algorithm_text())),
        Fact::text("kid", Ok(header.kid())),
        Fact::text("type", Ok(header.get("typ").and_then(Json::as_str))),
        members("header", header.iter(), &["alg", "kid", "typ"]),
        members("claims", claims.iter(), &["iss", "sub", "aud", "iat", "nbf", "exp"]),
    ]);
    facts.extend(notes(header, contents));
    facts
}

/// Which kind it is, and who says so.
fn kind(contents: &Contents, own: Option<&Issuer>, trust: &Trust) -> Vec<Fact> {
    let general = Issuer::general(String::new());
    let found = kind::classify(contents, own.unwrap_or(&general));
    let (kind, evidence) = (found.kind.to_string(), found.evidence.to_string());
    let judged = match (own, trust) {
        (Some(issuer), _) => format!("for the issuer `{}`, dialect {}", issuer.name, issuer.recognition.name()),
        (None, Trust::Configured(_)) => {
            format!("{BY_STANDARDS}; no issuer of the configuration has exactly this `iss`")
        }
        (None, Trust::Nobody | Trust::Keys { .. }) => BY_STANDARDS.to_owned(),
    };
    let mut facts = vec![
        Fact::new("kind", kind.as_str(), kind.as_str()),
        Fact::new("evidence", evidence.as_str(), evidence.as_str()),
        Fact::new("judged", judged.as_str(), judged.as_str()),
    ];
    if own.is_none() && found.kind != TokenKind::Access {
        facts.extend(elsewhere(contents));
    }
    facts
}

const BY_STANDARDS: &str = "by the standards alone (RFC 9068, OpenID Connect)";

/// The dialects in which it would be an access token: for whoever looks for the one of this issuer.
fn elsewhere(contents: &Contents) -> Option<Fact> {
    let admits = |access: Recognition| {
        let issuer = Issuer { recognition: access, ..Issuer::general(String::new()) };
        kind::classify(contents, &issuer).kind == TokenKind::Access
    };
    let admitting = DIALECTS.iter().filter(|dialect| admits(Recognition::Dialect(dialect)));
    let (by_audience, by_marks): (Vec<_>, Vec<_>) = admitting.partition(|dialect| dialect.is_judged_by_audience());
    let names = |dialects: &[&Dialect]| dialects.iter().map(|dialect| dialect.name).collect::<Vec<_>>();
    let (by_audience, by_marks) = (names(&by_audience), names(&by_marks));
    let mut lines = Vec::new();
    if !by_marks.is_empty() {
        lines.push(format!("in the dialect {} it is an access token", by_marks.join(", ")));
    }
    if !by_audience.is_empty() {
        lines.push(format!("in the dialect {} too, where its audience is the API's", by_audience.join(", ")));
    }
    let value = json!([by_marks, by_audience].concat());
    (!lines.is_empty()).then_some(Fact { name: "elsewhere", lines, value })
}

/// What is easily overlooked.
fn notes(header: &Header, contents: &Contents) -> Option<Fact> {
    let mut notes = Vec::new();
    if let Err(reject) = contents.extensions() {
        notes.push(format!("{}: {}", reject.code(), reject.cause()));
    }
    if contents.claims.has("cnf") {
        notes.push("it is bound to a key (`cnf`): as a plain Bearer token it is refused".to_owned());
    }
    if header.get("nonce").is_some() {
        notes.push(
            "its header has a `nonce`: a token for Microsoft Graph, whose signature nobody else can check".to_owned(),
        );
    }
    (!notes.is_empty()).then(|| Fact { name: "note", value: json!(notes), lines: notes })
}

/// All members for machines; for people those that no other fact tells.
fn members<'t>(name: &'static str, members: impl Iterator<Item = (&'t str, &'t Json)>, told: &[&str]) -> Fact {
    let members: serde_json::Map<_, _> = members.map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    let untold = members.iter().filter(|(name, _)| !told.contains(&name.as_str()));
    let lines = untold.map(|(name, value)| format!("{} = {}", plain(name), plain(&value.to_string()))).collect();
    Fact { name, lines, value: Value::Object(members) }
}

/// Text of a token as a terminal may show it, cut to a length.
fn plain(text: &str) -> String {
    let quotes = |char: char| matches!(char, '"' | '\'' | '\\');
    let escaped = |char: char| if quotes(char) { char.to_string() } else { char.escape_debug().to_string() };
    let mut shown: String = text.chars().take(LONGEST).map(escaped).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// How many characters of a claim people are shown.
const LONGEST: usize = 200;

/// A span of time in the largest unit of which there are at least two.
fn length(seconds: f64) -> String {
    let units = [(86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")];
    let unit = units.into_iter().find(|(size, _)| seconds >= 2.0 * size);
    match unit {
        Some((size, name)) => format!("{} {name}", (seconds / size).floor()),
        None if (1.0..2.0).contains(&seconds) => "1 second".to_owned(),
        None => format!("{} seconds", seconds.floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_largest_unit_of_which_there_are_two() {
        for (seconds, told) in [
            (0.4, "0 seconds"),
            (1.0, "1 second"),
            (119.9, "119 seconds"),
            (120.0, "2 minutes"),
            (7_199.0, "119 minutes"),
            (7_200.0, "2 hours"),
            (172_799.0, "47 hours"),
            (172_800.0, "2 days"),
            (400.0 * 86_400.0, "400 days"),
        ] {
            assert_eq!(length(seconds), told, "{seconds}");
        }
    }

    #[test]
    fn a_terminal_is_not_commanded() {
        assert_eq!(plain("\u{1b}[31m\u{202e}\n\"a\""), "\\u{1b}[31m\\u{202e}\\n\"a\"");
        assert_eq!(plain(&"a".repeat(201)), "a".repeat(200) + "…");
    }
}
