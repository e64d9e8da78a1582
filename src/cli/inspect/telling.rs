//! How an inspection is told: lines for people, or one JSON object.

use std::fmt;

use serde_json::{Value, json};

use super::facts::{Fact, facts};
use super::signature::{Signature, Trust};
use super::unread::unread;
use crate::cli::token_text::{self, Fault};
use crate::policy::claims::NumericDate;
use crate::policy::jwt::UnverifiedJwt;

/// What was found out about a text that should hold a token.
pub(super) struct Inspection {
    /// What is wrong with the text.
    faults: Vec<Fault>,
    facts: Vec<Fact>,
    signature: Signature,
}

impl Inspection {
    /// Inspects a text at the time `now`.
    pub(super) fn of(text: &str, trust: &Trust, now: NumericDate) -> Self {
        let token_text::Found { token, faults } = token_text::find(text);
        match UnverifiedJwt::parse(&token) {
            Ok(jwt) => Self { faults, facts: facts(jwt.contents(), trust, now), signature: trust.check(jwt) },
            Err(reject) => {
                let (facts, why) = unread(&token, &reject);
                Self { faults, facts, signature: Signature::Unchecked(why) }
            }
        }
    }

    /// Whether the signature was checked and holds.
    pub(super) fn holds(&self) -> bool {
        matches!(self.signature, Signature::Holds(_))
    }

    /// One object for machines: the facts by name, `text` for what is wrong with it, and `signature`.
    pub(super) fn json(&self) -> Value {
        let facts = self.facts.iter().map(|fact| (fact.name.replace(' ', "_"), fact.value.clone()));
        let mut object: serde_json::Map<_, _> = facts.collect();
        let faults = self.faults.iter().map(|fault| json!({ "what": fault.what(), "cure": fault.cure() }));
        object.insert("text".to_owned(), faults.collect());
        let signature = match &self.signature {
            Signature::Holds(with) => json!({ "verified": true, "with": with }),
            Signature::Fails(why) => json!({ "verified": false, "checked": true, "why": why.cause, "cure": why.cure }),
            Signature::Unchecked(why) => {
                json!({ "verified": false, "checked": false, "why": why.cause, "cure": why.cure })
            }
        };
        object.insert("signature".to_owned(), signature);
        Value::Object(object)
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "text        {}", fault.what())?;
            writeln!(f, "            cure: {}", fault.cure())?;
        }
        for Fact { name, lines, .. } in &self.facts {
            let mut name = *name;
            for line in lines {
                writeln!(f, "{name:<11} {line}")?;
                name = "";
            }
        }
        match &self.signature {
            Signature::Holds(with) => writeln!(f, "\nthe signature holds, by {with}"),
            Signature::Fails(why) => writeln!(f, "\nTHE SIGNATURE DOES NOT HOLD: {}\ncure: {}", why.cause, why.cure),
            Signature::Unchecked(why) => writeln!(f, "\nNOT VERIFIED: {}\ncure: {}", why.cause, why.cure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JWT with members of every kind, and what people put around one.
    const TEXTS: [&str; 4] = [
        "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImEifQ.eyJpc3MiOiJhIiwiYXVkIjpbImIiXSwiZXhwIjoxfQ.c2ln",
        r#"{"access_token":"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln","id_token":"x"}"#,
        "Authorization: Bearer \"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln\"",
        "https://a/#access_token=eyJhbGciOiJFUzI1NiJ9%2EeyJpc3MiOiJhIn0%2Ec2ln&x=%",
    ];

    #[test]
    fn no_text_is_beyond_an_inspection() {
        let now = NumericDate::new(1_600_000_000.0).unwrap();
        let inspect = |text: String| {
            let inspection = Inspection::of(&text, &Trust::Nobody, now);
            assert!(!inspection.holds() && inspection.json().is_object(), "{text}");
            assert!(inspection.to_string().starts_with(['k', 't']), "{text}");
        };
        for text in TEXTS {
            for at in 0..text.len() {
                let (before, after) = (&text[..at], &text[at + 1..]);
                inspect(before.to_owned());
                inspect(after.to_owned());
                for other in ["", ".", "%", "\"", "=", " ", "\u{1f43b}"] {
                    inspect(format!("{before}{other}{after}"));
                }
            }
        }
    }
}
