//! A provider that cannot be run here, as the demo's issuer emulates it, and the client's side of its flows.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bearward::demo::issuer::Issuer;
use bearward::demo::provider::{Fault, Provider};
use bearward::demo::providers;
use bearward::remote::clock::{Clock, Hands};
use http::Method;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::browser::{Answer, Browser};

pub const CALLBACK: &str = "https://app.example.com/auth/callback";
/// Verifier and challenge of RFC 7636 appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// An emulated provider, and its time.
pub struct Emulated {
    pub row: &'static Provider,
    pub issuer: Issuer,
    pub clock: Clock,
    pub hands: Hands,
    pub discovery: Value,
}

impl Emulated {
    pub async fn start(row: &'static Provider) -> Self {
        let (clock, hands) = Clock::manual(SystemTime::now());
        let issuer = Issuer::start(row, clock.clone()).await.unwrap();
        issuer.register_redirect_uri(CALLBACK.parse().unwrap());
        let address = format!("{}/.well-known/openid-configuration", issuer.name().trim_end_matches('/'));
        let answer = Browser::default().send(Method::GET, &address.parse().unwrap(), &[], String::new()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let discovery: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(discovery["issuer"], issuer.name(), "{}", row.dialect);
        Self { row, issuer, clock, hands, discovery }
    }

    pub async fn named(dialect: &str) -> Self {
        Self::start(providers().unwrap().iter().find(|row| row.dialect == dialect).unwrap()).await
    }

    pub fn endpoint(&self, name: &str) -> Url {
        self.discovery[name].as_str().unwrap_or_else(|| panic!("{}: no {name}", self.row.dialect)).parse().unwrap()
    }

    /// The authorization request of a login; a parameter of `changed` replaces the usual one, an empty one removes it.
    pub async fn authorize(&self, changed: &[(&str, &str)]) -> Answer {
        let scopes = self.row.scopes.join(" ");
        let mut query = vec![
            ("response_type", "code"),
            ("client_id", self.issuer.client_id()),
            ("redirect_uri", CALLBACK),
            ("scope", scopes.as_str()),
            ("state", "the state"),
            ("nonce", "the nonce"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        if let Some(parameter) = &self.row.audience_parameter {
            query.push((parameter, &self.row.audience[0]));
        }
        query.retain(|(name, _)| changed.iter().all(|(changed, _)| changed != name));
        query.extend(changed.iter().filter(|(_, value)| !value.is_empty()));
        let mut url = self.endpoint("authorization_endpoint");
        url.query_pairs_mut().extend_pairs(query);
        Browser::default().send(Method::GET, &url, &[], String::new()).await
    }

    pub async fn code(&self, changed: &[(&str, &str)]) -> String {
        parameter(&self.authorize(changed).await, "code").expect("a code")
    }

    /// A form to that endpoint, from the client with its secret.
    pub async fn post(&self, endpoint: &str, form: &[(&str, &str)]) -> Answer {
        self.post_with(endpoint, form, self.issuer.client_secret(), self.row.writes_basic()).await
    }

    pub async fn post_with(&self, endpoint: &str, form: &[(&str, &str)], secret: &str, by_header: bool) -> Answer {
        let client = self.issuer.client_id();
        let basic = format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")));
        let mut form = form.to_vec();
        let mut headers = Vec::new();
        if by_header {
            headers.push(("authorization", basic.as_str()));
        } else {
            form.extend([("client_id", client), ("client_secret", secret)]);
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        Browser::default().post(&self.endpoint(endpoint), &headers, body).await
    }

    pub async fn redeem(&self, code: &str, verifier: &str) -> Answer {
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", verifier),
        ];
        self.post("token_endpoint", &grant).await
    }

    pub async fn log_in(&self) -> Value {
        good(&self.redeem(&self.code(&[]).await, VERIFIER).await)
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.post("token_endpoint", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// An error, in the provider's own words.
    pub fn says(&self, answer: &Answer, fault: &Fault) {
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        let mut expected = json!({ "error": fault.error });
        if let Some(description) = &fault.error_description {
            expected["error_description"] = description.as_str().into();
        }
        assert_eq!((answer.status, told), (fault.status, expected), "{}", self.row.dialect);
    }
}

/// What the token endpoint and its like answer where all is well.
pub fn good(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    serde_json::from_str(&answer.body).unwrap()
}

/// A member of an answer.
pub fn text(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap_or_else(|| panic!("no {member} in {answer}")).to_owned()
}

/// A parameter of the address that a redirect leads to.
pub fn parameter(answer: &Answer, name: &str) -> Option<String> {
    assert_eq!(answer.status, 302, "{}", answer.body);
    let location: Url = answer.location().parse().unwrap();
    assert!(location.as_str().starts_with(CALLBACK), "{location}");
    location.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}
