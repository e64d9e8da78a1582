//! What each provider mints: data, not code.
//!
//! `samples.json` has one row per dialect, with the decoded tokens of that provider as its documentation or a running
//! server shows them. Another provider is another row. Two things are filled in when a token is minted: `{issuer}` by the
//! demo's own issuer, and a time `+N` or `-N` (under the names of [`TIMES`]) by the second that is N after or before now.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

/// One provider's row.
#[derive(Debug, Clone, Deserialize)]
pub struct Provider {
    /// The value of `dialect` in the configuration.
    pub dialect: String,
    /// Whose tokens these are.
    pub about: String,
    /// The path of the provider's issuers, with their final slash where they have one.
    pub issuer_path: String,
    /// Where the key set is, below the issuer.
    pub jwks_path: String,
    /// What the provider writes as audience of an access token for our API.
    pub audience: Vec<String>,
    /// The OAuth clients that are known.
    pub clients: Vec<String>,
    /// A scope of the good access token.
    pub scope: String,
    /// The good access token.
    pub access: Sample,
    /// The ID token of the same login.
    pub id: Sample,
    /// The refresh token of the same login.
    pub refresh: Sample,
    /// Tokens that this provider has beside these.
    pub others: Vec<Other>,
}

/// A token as the provider makes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Sample {
    /// A JWT, to be signed as it stands with the `alg` it names.
    Jwt {
        /// The JOSE header.
        header: Map<String, Value>,
        /// The claims.
        claims: Map<String, Value>,
    },
    /// A text that only the provider understands.
    Opaque {
        /// The token.
        opaque: String,
    },
}

/// A further token, with what the gateway says to it.
#[derive(Debug, Clone, Deserialize)]
pub struct Other {
    /// What it is.
    pub title: String,
    /// The code of the refusal; none where it is let through.
    pub code: Option<String>,
    /// The token.
    #[serde(flatten)]
    pub sample: Sample,
}

/// Members of header and claims that hold a time.
pub const TIMES: &[&str] = &["exp", "iat", "nbf", "auth_time", "warnafter"];

impl Provider {
    /// Every row.
    ///
    /// # Errors
    ///
    /// The data that is compiled in cannot be read: a defect of ours, which a test would see first.
    pub fn all() -> Result<&'static [Self], &'static serde_json::Error> {
        static ROWS: LazyLock<Result<Vec<Provider>, serde_json::Error>> =
            LazyLock::new(|| serde_json::from_str(include_str!("samples.json")));
        ROWS.as_deref()
    }
}

/// An object with its placeholders filled in; `now` is in seconds since 1970.
pub fn filled(object: &Map<String, Value>, issuer: &str, now: u64) -> Map<String, Value> {
    object.iter().map(|(name, value)| (name.clone(), fill(name, value, issuer, now))).collect()
}

fn fill(name: &str, value: &Value, issuer: &str, now: u64) -> Value {
    match value {
        Value::String(text) => match moment(name, text, now) {
            Some(seconds) => seconds.into(),
            None => text.replace("{issuer}", issuer).into(),
        },
        Value::Array(items) => items.iter().map(|item| fill(name, item, issuer, now)).collect(),
        Value::Object(members) => filled(members, issuer, now).into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn moment(name: &str, text: &str, now: u64) -> Option<u64> {
    if !TIMES.contains(&name) || !text.starts_with(['+', '-']) {
        return None;
    }
    let seconds: i64 = text.parse().ok()?;
    now.checked_add_signed(seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_token_is_the_one_of_the_corpus() {
        let corpus: Vec<Value> = serde_json::from_str(include_str!("../../tests/data/token-corpus.json")).unwrap();
        let rows: Vec<Value> = serde_json::from_str(include_str!("samples.json")).unwrap();
        let mut compared = 0;
        for row in &rows {
            let others = row["others"].as_array().unwrap().iter();
            for sample in [&row["access"], &row["id"], &row["refresh"]].into_iter().chain(others) {
                // A refresh token that the corpus does not have is opaque: nothing of it is claimed.
                let Some(id) = sample.get("corpus") else {
                    assert!(sample["opaque"].is_string());
                    continue;
                };
                let origin = corpus.iter().find(|origin| origin["id"] == *id).unwrap();
                let issuer = origin["config"]["issuer"].as_str().unwrap();
                if let Some(token) = sample.get("opaque") {
                    assert_eq!(token, &origin["token"], "{id}");
                } else {
                    assert_eq!(sample["header"], origin["header"], "{id}");
                    let text = sample["claims"].to_string().replace("{issuer}", issuer);
                    assert_eq!(text.parse::<Value>().unwrap(), origin["claims"], "{id}");
                    assert!(issuer.ends_with(row["issuer_path"].as_str().unwrap()), "{id}");
                }
                compared += 1;
            }
        }
        assert_eq!(compared, 23);
    }

    #[test]
    fn every_row_reads_and_names_a_dialect() {
        let rows = Provider::all().unwrap();
        let names: Vec<&str> = rows.iter().map(|row| &*row.dialect).collect();
        assert_eq!(names, ["rfc9068", "forgerock", "forgerock-express", "genauth", "auth0"]);
        for name in names {
            assert!(crate::policy::dialect::Dialect::named(name).is_some(), "{name}");
        }
    }

    #[test]
    fn times_and_the_issuer_are_filled_in() {
        let Value::Object(sample) = json!({
            "iss": "{issuer}", "aud": ["api", "{issuer}userinfo"], "exp": "+3600", "iat": "-10", "nickname": "+1",
            "nested": [{"auth_time": "-60", "warnafter": 5}], "nothing": null,
        }) else {
            unreachable!("an object");
        };
        let expected = json!({
            "iss": "http://i/", "aud": ["api", "http://i/userinfo"], "exp": 4600, "iat": 990, "nickname": "+1",
            "nested": [{"auth_time": 940, "warnafter": 5}], "nothing": null,
        });
        assert_eq!(Value::Object(filled(&sample, "http://i/", 1000)), expected);
    }
}
