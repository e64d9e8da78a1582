//! What each provider mints and how it behaves: data, not code.
//!
//! `samples.json` has one row per dialect, with the decoded tokens of that provider as its documentation or a running
//! server shows them, and the manners of its endpoints: paths, client authentication, rotation, lifetimes, and its errors
//! in its own words. Another provider is another row. Two things are filled in when a token is minted: `{issuer}` by the
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
    /// Where it is spoken to.
    pub endpoints: Endpoints,
    /// How a client may authenticate (RFC 7591 section 2); the first is what its guides write.
    pub client_authentication: Vec<String>,
    /// What the provider writes as audience of an access token for our API.
    pub audience: Vec<String>,
    /// The parameter of the authorization request that asks for that audience; who sends none gets an opaque access token.
    /// None where every access token is for the same audience.
    pub audience_parameter: Option<String>,
    /// The OAuth clients that are known; the first is the one that can log in.
    pub clients: Vec<String>,
    /// A scope of the good access token.
    pub scope: String,
    /// What may be asked for.
    pub scopes: Vec<String>,
    /// The scope without which there is no refresh token.
    pub refresh_needs: Option<String>,
    /// What a refresh does to the refresh token.
    pub rotation: Rotation,
    /// How long tokens live.
    pub lifetimes: Lifetimes,
    /// Whether the authorization response names the issuer (RFC 9207).
    pub announces_issuer: bool,
    /// Whether the ID token of a refresh bears the login's nonce (OpenID Connect Core section 12.2 lets both be).
    pub repeats_nonce: bool,
    /// Whether introspection answers for JWTs too.
    pub introspects_jwt: bool,
    /// A scope of the opaque access token; none where no opaque token can be asked about.
    pub opaque_scope: Option<String>,
    /// The code by which the gateway refuses the refresh token.
    pub refresh_code: String,
    /// How errors are told.
    pub faults: Faults,
    /// The good access token.
    pub access: Sample,
    /// The opaque access token, where the provider has one.
    pub opaque_access: Option<Sample>,
    /// The ID token of the same login.
    pub id: Sample,
    /// The refresh token of the same login.
    pub refresh: Sample,
    /// Tokens that this provider has beside these.
    pub others: Vec<Other>,
}

/// The paths of the endpoints, below the issuer.
#[derive(Debug, Clone, Deserialize)]
pub struct Endpoints {
    /// The key set.
    pub jwks: String,
    /// RFC 6749 section 3.1.
    pub authorization: String,
    /// RFC 6749 section 3.2.
    pub token: String,
    /// RFC 7662; some have none.
    pub introspection: Option<String>,
    /// RFC 7009.
    pub revocation: String,
    /// OpenID Connect RP-Initiated Logout.
    pub end_session: String,
}

/// What a refresh does to the refresh token that was shown (RFC 9700 section 4.14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rotation {
    /// There is a new one, and the old one stays good.
    Kept,
    /// There is a new one, and the old one is spent.
    Each,
    /// As [`Each`](Self::Each); and who shows a spent one ends all that came of the same login.
    Family,
    /// The same one, until it has lived 70 % of its life; from then on as [`Family`](Self::Family).
    Late,
}

/// In seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Lifetimes {
    /// Of access tokens.
    pub access: u64,
    /// Of ID tokens.
    pub id: u64,
    /// Of refresh tokens.
    pub refresh: u64,
}

/// The errors, each as this provider tells it.
#[derive(Debug, Clone, Deserialize)]
pub struct Faults {
    /// The client is unknown, or its secret is wrong.
    pub client: Fault,
    /// The grant is none that there is.
    pub grant_type: Fault,
    /// A parameter is missing, or there twice.
    pub request: Fault,
    /// The code is unknown, spent or expired, or belongs to another redirect URI or verifier.
    pub code: Fault,
    /// The refresh token is unknown, spent or expired.
    pub refresh: Fault,
    /// The redirect URI is none of the client's.
    pub redirect: Fault,
    /// A scope that there is not; where this is missing, such scopes are passed over.
    pub scope: Option<Fault>,
    /// An audience that there is not.
    pub audience: Option<Fault>,
    /// The client, at introspection; where this is missing, as elsewhere.
    pub introspection: Option<Fault>,
}

/// An error (RFC 6749 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Fault {
    /// The HTTP status.
    pub status: u16,
    /// The code.
    pub error: String,
    /// In words.
    pub error_description: Option<String>,
    /// The challenge that goes to a client that authenticated in the `Authorization` header.
    pub challenge: Option<String>,
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
        /// What introspection says of it (RFC 7662); nothing where it cannot be asked.
        #[serde(default)]
        introspection: Map<String, Value>,
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

    /// Whether its guides write the client's secret into the `Authorization` header.
    pub fn writes_basic(&self) -> bool {
        self.client_authentication.first().is_some_and(|method| method == "client_secret_basic")
    }

    /// The client that can log in.
    pub fn client(&self) -> &str {
        self.clients.first().map(String::as_str).unwrap_or_default()
    }
}

impl Sample {
    /// What a JWT is signed with.
    pub fn algorithm(&self) -> Option<&str> {
        match self {
            Self::Jwt { header, .. } => header.get("alg").and_then(Value::as_str),
            Self::Opaque { .. } => None,
        }
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
            for sample in
                ["access", "opaque_access", "id", "refresh"].iter().filter_map(|name| row.get(name)).chain(others)
            {
                // A refresh token that the corpus does not have is opaque: nothing of it is claimed.
                let Some(id) = sample.get("corpus") else {
                    assert!(sample["opaque"].is_string());
                    continue;
                };
                let origin = corpus.iter().find(|origin| origin["id"] == *id).unwrap();
                let issuer = origin["config"]["issuer"].as_str().unwrap();
                let told =
                    |member: &str| -> Value { sample[member].to_string().replace("{issuer}", issuer).parse().unwrap() };
                if let Some(token) = sample.get("opaque") {
                    assert_eq!(token, &origin["token"], "{id}");
                    assert_eq!(told("introspection"), origin["introspection"], "{id}");
                } else {
                    assert_eq!(sample["header"], origin["header"], "{id}");
                    assert_eq!(told("claims"), origin["claims"], "{id}");
                    assert!(issuer.ends_with(row["issuer_path"].as_str().unwrap()), "{id}");
                }
                compared += 1;
            }
        }
        assert_eq!(compared, 40);
    }

    #[test]
    fn every_row_reads_and_names_a_dialect() {
        let rows = Provider::all().unwrap();
        let names: Vec<&str> = rows.iter().map(|row| &*row.dialect).collect();
        assert_eq!(names, ["rfc9068", "forgerock", "forgerock-express", "genauth", "auth0", "keycloak"]);
        for name in names {
            assert!(crate::policy::dialect::Dialect::named(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_lifetimes_are_those_of_the_samples() {
        for row in Provider::all().unwrap() {
            let Lifetimes { access, id, refresh } = row.lifetimes;
            for (sample, lifetime) in [(&row.access, access), (&row.id, id), (&row.refresh, refresh)] {
                if let Sample::Jwt { claims, .. } = sample {
                    assert_eq!(claims["exp"], format!("+{lifetime}"), "{}", row.dialect);
                }
            }
        }
    }

    #[test]
    fn lifetimes_are_those_that_the_first_documents_print() {
        let seeds: Value = serde_json::from_str(include_str!("../../tests/data/seed-samples.json")).unwrap();
        let told = &seeds["forgerock-express"]["lifetimes_seconds"];
        let rows = Provider::all().unwrap();
        for dialect in ["forgerock", "forgerock-express"] {
            let Lifetimes { access, id, refresh } = rows.iter().find(|row| row.dialect == dialect).unwrap().lifetimes;
            assert_eq!(&json!({"id_token": id, "access_token": access, "refresh_token": refresh}), told);
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
