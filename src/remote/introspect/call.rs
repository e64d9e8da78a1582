//! One call of an introspection endpoint, and what of the reply is an answer.
//!
//! 1. `token_type_hint=access_token` is always sent: some servers look refresh tokens up only when asked for them.
//! 2. A reply of status 200 is an answer where it is one JSON object without repeated members, of at most [`BODY_LIMIT`]
//!    bytes; or a JWT that the issuer signed for us just now (RFC 9701).
//! 3. A 400 is about the token (a JWT where only opaque tokens are kept, for one) and means "not active", unless it says that
//!    we are not the client we should be.
//! 4. Everything else is trouble of ours or the issuer's, and never an answer.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Source;
use crate::config::Client as OauthClient;
use crate::policy::Rules;
use crate::policy::claims::NumericDate;
use crate::policy::introspection::Answer;
use crate::policy::issuer::IssuerId;
use crate::policy::json::{Json, Object};
use crate::policy::jwt::UnverifiedJwt;
use crate::remote::client_auth::form;
use crate::remote::clock::Clock;
use crate::remote::discovery::Endpoint;
use crate::remote::http::{Client, FetchError, Form, PlainHttp, Wanted};
use crate::remote::jwks::KeySets;
use crate::telemetry::labels::IntrospectionResult;

/// The longest reply that is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// The longest time for which an issuer is left alone because it asks for that.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// What we take: plain answers rather than signed ones, which cost a signature check each.
const ACCEPT: &str = "application/json, application/token-introspection+jwt;q=0.5";

/// How one issuer is asked.
pub(super) struct Call {
    endpoint: Endpoint,
    client: OauthClient,
    http: Client,
    plain_http: PlainHttp,
    timeout: Duration,
    judge: Judge,
}

/// What a signed answer is checked with.
pub struct Judge {
    /// The issuer's place in `rules`.
    pub issuer: IssuerId,
    /// What is known of it.
    pub rules: Arc<Rules>,
    /// Its keys.
    pub keys: Arc<KeySets>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What happened.
    pub(super) why: String,
    /// What the operator can do.
    pub(super) help: &'static str,
    /// The value of the metric's label.
    pub(super) result: IntrospectionResult,
    /// How long the issuer wants to be left alone.
    pub(super) leave_alone: Duration,
}

impl Trouble {
    fn new(result: IntrospectionResult, why: impl Into<String>, help: &'static str) -> Self {
        Self { why: why.into(), help, result, leave_alone: Duration::ZERO }
    }

    /// The call ended without a word: a defect of ours.
    pub(super) fn broken_off() -> Self {
        let help = "this is a defect of the gateway; report it with the log around it";
        Self::new(IntrospectionResult::Interrupted, "the call broke off", help)
    }

    /// The call was not made.
    pub(super) fn left_alone(again: Duration) -> Self {
        let why = "it has failed several times in a row, or asked for a pause, and is left alone for a moment";
        let help = "see why it failed; it is tried again by itself";
        Self { leave_alone: again, ..Self::new(IntrospectionResult::LeftAlone, why, help) }
    }

    fn fetch(error: &FetchError) -> Self {
        let result = match error {
            FetchError::Refused(_) | FetchError::Unreachable(_) => IntrospectionResult::Unreachable,
            FetchError::Timeout => IntrospectionResult::Timeout,
            FetchError::Redirected(_) | FetchError::Status(_) => IntrospectionResult::Status,
            FetchError::TooLarge(_) => IntrospectionResult::Malformed,
            FetchError::Interrupted(_) => IntrospectionResult::Interrupted,
        };
        Self::new(result, error.to_string(), "see that the issuer's introspection endpoint can be reached and is well")
    }

    fn unauthorized(status: &str) -> Self {
        let why = format!("it does not take our client's credentials (status {status})");
        Self::new(IntrospectionResult::Unauthorized, why, OUR_CREDENTIALS)
    }

    fn throttled(headers: &HeaderMap) -> Self {
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let asked = Duration::from_secs(seconds.unwrap_or(1)).min(LONGEST_ASKED);
        let help = "raise the limit at the issuer, or `cache` of its `introspection`; JWT access tokens need no call";
        Self { leave_alone: asked, ..Self::new(IntrospectionResult::Throttled, "it asks for fewer calls (429)", help) }
    }

    fn malformed(why: &str) -> Self {
        let help = "see what the endpoint answers; a page for people is often a login or an error page";
        Self::new(IntrospectionResult::Malformed, format!("the reply {why}"), help)
    }
}

impl Call {
    pub(super) fn new(source: &Source, judge: Judge, client: &Client) -> Self {
        Self {
            endpoint: Endpoint::new(&source.introspection.endpoint, &source.issuer, "introspection_endpoint"),
            client: source.introspection.client.clone(),
            http: client.trusting(source.authorities.as_ref()),
            plain_http: source.plain_http,
            timeout: source.introspection.timeout,
            judge,
        }
    }

    /// Asks about a token, as a part of the trace that `traceparent` names.
    pub(super) async fn make(
        &self,
        token: &str,
        traceparent: Option<HeaderValue>,
        clock: &Clock,
    ) -> Result<Answer, Trouble> {
        let deadline = clock.now().after(self.timeout);
        let endpoint = self.endpoint.find(&self.http, self.plain_http, clock, deadline).await;
        let endpoint =
            endpoint.map_err(|error| Trouble::new(IntrospectionResult::Discovery, error.to_string(), error.help()))?;
        let fields = [("token", token), ("token_type_hint", "access_token")];
        let form = form(&self.client, &endpoint, &fields, clock.wall())
            .map_err(|why| Trouble::new(IntrospectionResult::Unauthorized, why, OUR_CREDENTIALS))?;
        let (form, wanted) = (Form { traceparent, ..form }, Wanted { accept: ACCEPT, limit: BODY_LIMIT });
        let reply = self.http.post(&endpoint, self.plain_http, form, &wanted, deadline).await;
        let reply = reply.map_err(|error| Trouble::fetch(&error))?;
        match reply.status {
            StatusCode::OK if is_signed(&reply.headers) => {
                // For an unknown key the issuer's set is fetched anew.
                let late = |_| Trouble::fetch(&FetchError::Timeout);
                clock.until(deadline, self.signed(&reply.body, clock.wall().into())).await.map_err(late)?
            }
            StatusCode::OK => Answer::parse(&reply.body).map_err(Trouble::malformed),
            StatusCode::BAD_REQUEST => about_token(&reply.body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Trouble::unauthorized(reply.status.as_str())),
            StatusCode::TOO_MANY_REQUESTS => Err(Trouble::throttled(&reply.headers)),
            status => Err(Trouble::new(
                IntrospectionResult::Status,
                format!("the reply has status {}", status.as_u16()),
                "see that `endpoint` is the issuer's introspection endpoint, and what the issuer logs",
            )),
        }
    }

    /// The answer in a signed reply (RFC 9701 section 5).
    async fn signed(&self, body: &[u8], received: NumericDate) -> Result<Answer, Trouble> {
        let Judge { issuer: id, rules, keys } = &self.judge;
        let issuer = rules.issuers.get(id.0).ok_or_else(Trouble::broken_off)?;
        let text = std::str::from_utf8(body).map_err(|_| Trouble::malformed("is no JWT"))?;
        let checked = async {
            let jwt = UnverifiedJwt::parse(text.trim_ascii())?;
            jwt.contents().extensions()?;
            keys.verify((*id, issuer), jwt).await
        };
        let jwt = checked.await.map_err(|reject| Trouble::malformed(&format!("is signed: {reject}")))?;
        Answer::signed(&jwt, issuer, &self.client.id, received).map_err(Trouble::malformed)
    }
}

const OUR_CREDENTIALS: &str = "set `client_id`, `client_secret` and `auth_method` of the issuer's `introspection` to what the issuer \
                               knows; the client must be allowed to introspect";

/// Whether the reply is a JWT: by the type of RFC 9701, or the older one that some servers use.
fn is_signed(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/token-introspection+jwt") || kind.eq_ignore_ascii_case(b"application/jwt")
}

/// A 400: the server does not take this token, or not us.
fn about_token(body: &[u8]) -> Result<Answer, Trouble> {
    let object = Object::parse_strict(body).unwrap_or_default();
    match object.get("error").and_then(Json::as_str) {
        Some("invalid_client" | "unauthorized_client") => Err(Trouble::unauthorized("400")),
        Some(_) | None => Ok(Answer::inactive()),
    }
}
