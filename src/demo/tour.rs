//! The tour: one stop per outcome, each a request that a curl line sends and the answer it gets.
//!
//! The list is the same for every provider; what differs are the tokens, and where a refresh token is opaque the code. It
//! only describes: [`super::check`] sends the requests, and `bearward demo` prints the lines.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value};

use super::api::IDENTITY_HEADERS;
use super::issuer::Issuer;
use super::provider::{Provider, Sample};
use super::signer::SignFault;
use crate::policy::reject::Code;

/// A request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// What is sent.
    pub title: String,
    /// The request's path.
    pub path: &'static str,
    /// The name of the token's file in the demo's directory; none where no token is sent.
    pub token: Option<String>,
    /// What the gateway answers.
    pub answer: Answer,
}

/// What the gateway answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200, by the API, which was told these identity headers with these values.
    Permitted(Vec<(&'static str, String)>),
    /// A refusal, with the scopes that its challenge names.
    Refused(Code, Option<&'static str>),
}

/// A token of the tour.
pub struct Token {
    /// The name of its file.
    pub name: String,
    /// The token itself.
    pub text: String,
}

/// Every stop, the good token's first, and the tokens they send.
pub struct Tour {
    /// In the order in which they are told.
    pub stops: Vec<Stop>,
    /// Each under its own name.
    pub tokens: Vec<Token>,
}

/// A path that needs the provider's scope.
pub const ORDERS: &str = "/orders/7";
/// A path that needs [`REPORTS_SCOPE`].
pub const REPORTS: &str = "/reports/7";
/// A scope that no token of the demo has.
pub const REPORTS_SCOPE: &str = "reports:write";
/// The file of the ID token, which `explain` is shown with.
pub const ID_TOKEN: &str = "id-token";

impl Tour {
    /// Mints the tokens and lists the stops; `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// A token cannot be signed.
    pub fn new(provider: &Provider, issuer: &Issuer, now: u64) -> Result<Self, SignFault> {
        let mut tour = Self { stops: Vec::new(), tokens: Vec::new() };
        let unchanged = |_: &mut Map<String, Value>, _: &mut Map<String, Value>| ();
        let access = issuer.mint(&provider.access, now, unchanged)?;

        tour.stop("an access token", "access-token", access.clone(), permitted(&provider.access));
        tour.stop(
            "the ID token",
            ID_TOKEN,
            issuer.mint(&provider.id, now, unchanged)?,
            refused(Code::IdTokenPresented),
        );
        let refresh = match &provider.refresh {
            Sample::Jwt { .. } => ("the refresh token", Code::RefreshTokenPresented),
            Sample::Opaque { .. } => ("the refresh token (opaque)", Code::TokenMalformed),
        };
        let token = issuer.mint(&provider.refresh, now, unchanged)?;
        tour.stop(refresh.0, "refresh-token", token, refused(refresh.1));

        let expired = issuer.mint(&provider.access, now, |_, claims| {
            for (claim, ago) in [("iat", 7200), ("nbf", 7200), ("exp", 3600)] {
                if let Some(time) = claims.get_mut(claim) {
                    *time = now.saturating_sub(ago).into();
                }
            }
        })?;
        tour.stop("an expired access token", "expired-token", expired, refused(Code::TokenExpired));
        let foreign = issuer.mint(&provider.access, now, |_, claims| {
            claims.insert("aud".to_owned(), "https://another-api.bearward.example".into());
        })?;
        tour.stop("an access token for another API", "foreign-token", foreign, refused(Code::AudienceWrong));
        tour.stops.push(Stop {
            title: format!("the access token, where {REPORTS_SCOPE} is needed"),
            path: REPORTS,
            token: Some("access-token".to_owned()),
            answer: Answer::Refused(Code::ScopeInsufficient, Some(REPORTS_SCOPE)),
        });
        tour.stops.push(Stop {
            title: "no token".to_owned(),
            path: ORDERS,
            token: None,
            answer: refused(Code::CredentialMissing),
        });

        // Another person's name under a signature that was made for the first one's.
        let other = issuer.mint(&provider.access, now, |_, claims| {
            claims.insert("sub".to_owned(), "somebody-else".into());
        })?;
        let forged = other.rsplit_once('.').zip(access.rsplit_once('.'));
        let forged = forged.map(|((changed, _), (_, signature))| format!("{changed}.{signature}")).unwrap_or(other);
        tour.stop("a forged access token", "forged-token", forged, refused(Code::SignatureInvalid));
        let unknown = issuer.mint(&provider.access, now, |header, _| {
            header.insert("kid".to_owned(), "no-key-of-this-issuer".into());
        })?;
        tour.stop("a token signed with an unknown key", "unknown-key-token", unknown, refused(Code::KeyUnknown));

        for (number, other) in provider.others.iter().enumerate() {
            let answer = match other.code.as_deref().and_then(named) {
                Some(code) => refused(code),
                None => permitted(&other.sample),
            };
            let token = issuer.mint(&other.sample, now, unchanged)?;
            tour.stop(&other.title, &format!("other-token-{}", number + 1), token, answer);
        }
        Ok(tour)
    }

    /// The token of that name.
    pub fn token(&self, name: &str) -> Option<&str> {
        self.tokens.iter().find(|token| token.name == name).map(|token| &*token.text)
    }

    fn stop(&mut self, title: &str, name: &str, token: String, answer: Answer) {
        self.tokens.push(Token { name: name.to_owned(), text: token });
        self.stops.push(Stop { title: title.to_owned(), path: ORDERS, token: Some(name.to_owned()), answer });
    }
}

impl Stop {
    /// The request as a line for the shell; the token comes out of its file in `directory`.
    pub fn curl(&self, gateway: SocketAddr, directory: &Path) -> String {
        let credential = self.token.as_ref().map(|name| {
            let file = directory.join(name);
            format!(" -H \"Authorization: Bearer $(cat '{}')\"", file.display())
        });
        format!("curl -i{} http://{gateway}{}", credential.unwrap_or_default(), self.path)
    }
}

impl Answer {
    /// The status and, of a refusal, the code.
    pub fn told(&self) -> String {
        match self {
            Self::Permitted(_) => "200".to_owned(),
            Self::Refused(code, _) => format!("{} {code}", code.facts().status),
        }
    }
}

fn refused(code: Code) -> Answer {
    Answer::Refused(code, None)
}

/// What the API hears of a token's claims: in the demo's configuration, the subject and the scopes.
fn permitted(sample: &Sample) -> Answer {
    let Sample::Jwt { claims, .. } = sample else { return Answer::Permitted(Vec::new()) };
    let [user, scope] = IDENTITY_HEADERS;
    let told = [(user, "sub"), (scope, "scope")];
    Answer::Permitted(
        told.into_iter().filter_map(|(header, claim)| Some((header, text(claims.get(claim)?)?))).collect(),
    )
}

/// A string as it is, the strings of an array with blanks between: so the gateway tells scopes.
fn text(claim: &Value) -> Option<String> {
    let Some(items) = claim.as_array() else { return claim.as_str().map(str::to_owned) };
    let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
    Some(items.join(" "))
}

fn named(code: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|known| known.facts().name == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tour(dialect: &str) -> Tour {
        let provider = Provider::all().unwrap().iter().find(|row| row.dialect == dialect).unwrap();
        let issuer = Issuer::start(provider).await.unwrap();
        Tour::new(provider, &issuer, 1_700_000_000).unwrap()
    }

    fn told(tour: &Tour) -> Vec<(&str, String)> {
        tour.stops.iter().map(|stop| (&*stop.title, stop.answer.told())).collect()
    }

    #[tokio::test]
    async fn a_tour_has_every_outcome() {
        let expected = [
            ("an access token", "200"),
            ("the ID token", "401 id_token_presented"),
            ("the refresh token", "401 refresh_token_presented"),
            ("an expired access token", "401 token_expired"),
            ("an access token for another API", "401 audience_wrong"),
            ("the access token, where reports:write is needed", "403 scope_insufficient"),
            ("no token", "401 credential_missing"),
            ("a forged access token", "401 signature_invalid"),
            ("a token signed with an unknown key", "401 key_unknown"),
        ];
        let tour = tour("forgerock-express").await;
        assert_eq!(told(&tour), expected.map(|(title, answer)| (title, answer.to_owned())));
        assert_eq!(
            tour.stops[0].answer,
            Answer::Permitted(vec![
                ("x-user", "user-0001".to_owned()),
                ("x-scope", "openid api.forgecloud.com:user.read".to_owned())
            ])
        );
    }

    #[tokio::test]
    async fn an_opaque_refresh_token_is_malformed_to_us() {
        let tour = tour("auth0").await;
        assert!(told(&tour).contains(&("the refresh token (opaque)", "401 token_malformed".to_owned())));
        assert!(tour.token("refresh-token").unwrap().starts_with("v1."));
    }

    #[tokio::test]
    async fn a_curl_line_reads_the_token_from_its_file() {
        let tour = tour("rfc9068").await;
        let gateway = "127.0.0.1:8080".parse().unwrap();
        let curl = |stop: usize| tour.stops[stop].curl(gateway, Path::new("/tmp/d"));
        assert_eq!(
            curl(0),
            r#"curl -i -H "Authorization: Bearer $(cat '/tmp/d/access-token')" http://127.0.0.1:8080/orders/7"#
        );
        assert_eq!(curl(6), "curl -i http://127.0.0.1:8080/orders/7");
    }
}
