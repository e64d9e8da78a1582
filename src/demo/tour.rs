//! The tour: every outcome, each a request that a curl line sends and the answer it gets.
//!
//! 1. What the gateway says to each token of the provider, to tokens that are expired, foreign or forged, and to none.
//! 2. What the provider's token endpoint says: to a refresh, to a wrong secret, to a refresh token that was used.
//! 3. What comes later: keys are rotated, tokens expire. [`super::check`] moves the time for that; `bearward demo` does not
//!    print it.
//!
//! The list is the same for every provider; what differs are the tokens and its row. It only describes: [`super::check`]
//! sends the requests, and `bearward demo` prints the lines.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use super::api::IDENTITY_HEADERS;
use super::issuer::{Issuer, Tokens};
use super::provider::{Fault, Provider, Rotation, Sample};
use super::signer::SignFault;
use crate::policy::reject::Code;

/// A request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// What is sent.
    pub title: String,
    /// What happens before.
    pub before: Event,
    /// The request.
    pub request: Ask,
    /// What comes back.
    pub answer: Answer,
}

/// What happens between two stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing.
    None,
    /// The issuer signs with a new key.
    KeysRotated,
    /// This much time passes.
    Time(Duration),
}

/// What is asked, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The API, through the gateway.
    Api {
        /// The path.
        path: &'static str,
        /// The name of the token's file in the demo's directory; none where no token is sent.
        token: Option<String>,
    },
    /// The issuer's token endpoint, for new tokens by the refresh token in this file.
    Refresh {
        /// The name of its file.
        token: String,
        /// The name of the file that the client takes for its secret.
        secret: &'static str,
    },
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200, by the API, which was told these identity headers with these values.
    Permitted(Vec<(&'static str, String)>),
    /// A refusal of the gateway, with the scopes that its challenge names.
    Refused(Code, Option<&'static str>),
    /// 200, by the issuer, with an access token that the gateway lets through; and whether the refresh token is the same.
    Issued {
        /// Whether it is.
        same: bool,
    },
    /// An error of the issuer.
    Fault(&'static Fault),
}

/// A text that a request needs.
pub struct File {
    /// The name of its file.
    pub name: String,
    /// The text itself.
    pub text: String,
}

/// Every stop, the good token's first, and the files they need.
pub struct Tour {
    /// In the order in which they are told.
    pub stops: Vec<Stop>,
    /// Each under its own name.
    pub files: Vec<File>,
}

/// A path that needs the provider's scope.
pub const ORDERS: &str = "/orders/7";
/// A path that needs [`REPORTS_SCOPE`].
pub const REPORTS: &str = "/reports/7";
/// A path for the provider's clients, whatever API their tokens are for.
pub const ME: &str = "/me";
/// A scope that no token of the demo has.
pub const REPORTS_SCOPE: &str = "reports:write";
/// The file of a login's access token.
pub const ACCESS_TOKEN: &str = "access-token";
/// The file of its refresh token.
pub const REFRESH_TOKEN: &str = "refresh-token";
/// The file of the ID token, which `explain` is shown with.
pub const ID_TOKEN: &str = "id-token";
/// The file of the client's secret.
pub const SECRET: &str = "client-secret";

const WRONG_SECRET: &str = "wrong-secret";
/// More than the gateway's cooldown of keys and its leeway.
const A_WHILE: Duration = Duration::from_secs(60);

impl Tour {
    /// Logs in, mints the tokens, and lists the stops.
    ///
    /// # Errors
    ///
    /// A token cannot be signed.
    pub fn new(provider: &'static Provider, issuer: &Issuer) -> Result<Self, SignFault> {
        let mut tour = Self { stops: Vec::new(), files: Vec::new() };
        tour.file(SECRET, issuer.client_secret().to_owned());
        tour.file(WRONG_SECRET, "wrong".to_owned());
        tour.tokens_of_a_login(provider, issuer)?;
        tour.tokens_gone_wrong(provider, issuer)?;
        tour.other_tokens(provider, issuer)?;
        tour.refreshes(provider, issuer)?;
        Ok(tour)
    }

    /// What one login brings.
    fn tokens_of_a_login(&mut self, provider: &Provider, issuer: &Issuer) -> Result<(), SignFault> {
        let tokens = log_in(provider, issuer, true)?;
        let told = permitted(issuer, &tokens.access);
        self.token("an access token", ACCESS_TOKEN, tokens.access, told);
        if let Some(id) = tokens.id {
            self.token("the ID token", ID_TOKEN, id, refused(Code::IdTokenPresented));
        }
        if let (Some(refresh), Some(code)) = (tokens.refresh, named(&provider.refresh_code)) {
            let title = match provider.refresh {
                Sample::Jwt { .. } => "the refresh token",
                Sample::Opaque { .. } => "the refresh token (opaque)",
            };
            self.token(title, REFRESH_TOKEN, refresh, refused(code));
        }
        Ok(())
    }

    fn tokens_gone_wrong(&mut self, provider: &Provider, issuer: &Issuer) -> Result<(), SignFault> {
        let changed =
            |change: &dyn Fn(&mut Map<String, Value>)| issuer.mint(&provider.access, |_, claims| change(claims));
        let expired = changed(&|claims| {
            for (claim, ago) in [("iat", 7200), ("nbf", 7200), ("exp", 3600)] {
                if let Some(time) = claims.get_mut(claim) {
                    *time = issuer.now().saturating_sub(ago).into();
                }
            }
        })?;
        self.token("an expired access token", "expired-token", expired, refused(Code::TokenExpired));
        let foreign = changed(&|claims| {
            claims.insert("aud".to_owned(), "https://another-api.bearward.example".into());
        })?;
        self.token("an access token for another API", "foreign-token", foreign, refused(Code::AudienceWrong));
        self.stop(
            &format!("the access token, where {REPORTS_SCOPE} is needed"),
            Ask::Api { path: REPORTS, token: Some(ACCESS_TOKEN.to_owned()) },
            Answer::Refused(Code::ScopeInsufficient, Some(REPORTS_SCOPE)),
        );
        self.stop("no token", Ask::Api { path: ORDERS, token: None }, refused(Code::CredentialMissing));

        // Another person's name under a signature that was made for the first one's.
        let (access, other) = (
            changed(&|_| ())?,
            changed(&|claims| {
                claims.insert("sub".to_owned(), "somebody-else".into());
            })?,
        );
        let forged = other.rsplit_once('.').zip(access.rsplit_once('.'));
        let forged = forged.map(|((changed, _), (_, signature))| format!("{changed}.{signature}")).unwrap_or(other);
        self.token("a forged access token", "forged-token", forged, refused(Code::SignatureInvalid));
        let unknown = issuer.mint(&provider.access, |header, _| {
            header.insert("kid".to_owned(), "no-key-of-this-issuer".into());
        })?;
        self.token("a token signed with an unknown key", "unknown-key-token", unknown, refused(Code::KeyUnknown));
        Ok(())
    }

    /// What the provider has beside these: opaque tokens, and those of its row.
    fn other_tokens(&mut self, provider: &Provider, issuer: &Issuer) -> Result<(), SignFault> {
        if let Some(sample) = &provider.opaque_access {
            // Where an audience can be asked for, a login without one brings an opaque token.
            let (title, token) = match &provider.audience_parameter {
                Some(_) => (
                    "an access token where no audience was asked for (opaque)",
                    log_in(provider, issuer, false)?.access,
                ),
                None => ("an opaque access token", issuer.mint(sample, |_, _| ())?),
            };
            let (path, answer) = match &provider.opaque_scope {
                Some(_) => (ME, permitted(issuer, &token)),
                None => (ORDERS, refused(Code::TokenMalformed)),
            };
            self.file("opaque-token", token);
            self.stop(title, Ask::Api { path, token: Some("opaque-token".to_owned()) }, answer);
        }
        for (number, other) in provider.others.iter().enumerate() {
            let token = issuer.mint(&other.sample, |_, _| ())?;
            let answer = match other.code.as_deref().and_then(named) {
                Some(code) => refused(code),
                None => permitted(issuer, &token),
            };
            self.token(&other.title, &format!("other-token-{}", number + 1), token, answer);
        }
        Ok(())
    }

    /// What the token endpoint says.
    fn refreshes(&mut self, provider: &'static Provider, issuer: &Issuer) -> Result<(), SignFault> {
        let same = provider.rotation == Rotation::Late;
        let again = match provider.rotation {
            Rotation::Kept | Rotation::Late => Answer::Issued { same },
            Rotation::Each | Rotation::Family => Answer::Fault(&provider.faults.refresh),
        };
        for name in ["first-refresh-token", "second-refresh-token", "third-refresh-token"] {
            self.file(name, log_in(provider, issuer, true)?.refresh.unwrap_or_default());
        }
        let refresh = |token: &str, secret| Ask::Refresh { token: token.to_owned(), secret };
        let [first, second, third] =
            ["first", "second", "third"].map(|name| refresh(&format!("{name}-refresh-token"), SECRET));
        let wrong = refresh("first-refresh-token", WRONG_SECRET);
        self.stop("a refresh with a wrong secret", wrong, Answer::Fault(&provider.faults.client));
        self.stop("a refresh", first.clone(), Answer::Issued { same });
        self.stop("a refresh with the same refresh token again", first, again);

        let access = Ask::Api { path: ORDERS, token: Some(ACCESS_TOKEN.to_owned()) };
        let good = self.stops.first().map(|stop| stop.answer.clone());
        self.later(
            "a refresh after the issuer's keys were rotated",
            Event::KeysRotated,
            second,
            Answer::Issued { same },
        );
        if let Some(good) = good {
            self.later("the access token of before", Event::None, access.clone(), good);
        }
        let lifetime = |seconds| Event::Time(Duration::from_secs(seconds) + A_WHILE);
        let access_ends = lifetime(provider.lifetimes.access);
        self.later("the access token when its life is over", access_ends, access, refused(Code::TokenExpired));
        let refresh_ends = lifetime(provider.lifetimes.refresh);
        let expired = Answer::Fault(&provider.faults.refresh);
        self.later("a refresh when the refresh token's life is over", refresh_ends, third, expired);
        Ok(())
    }

    /// The text of that file.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.files.iter().find(|file| file.name == name).map(|file| &*file.text)
    }

    fn file(&mut self, name: &str, text: String) {
        self.files.push(File { name: name.to_owned(), text });
    }

    fn token(&mut self, title: &str, name: &str, token: String, answer: Answer) {
        self.file(name, token);
        self.stop(title, Ask::Api { path: ORDERS, token: Some(name.to_owned()) }, answer);
    }

    fn stop(&mut self, title: &str, request: Ask, answer: Answer) {
        self.later(title, Event::None, request, answer);
    }

    fn later(&mut self, title: &str, before: Event, request: Ask, answer: Answer) {
        self.stops.push(Stop { title: title.to_owned(), before, request, answer });
    }
}

impl Ask {
    /// The request as a line for the shell; tokens and secrets come out of their files in `directory`.
    pub fn curl(&self, provider: &Provider, gateway: SocketAddr, token_endpoint: &str, directory: &Path) -> String {
        let file = |name: &str| directory.join(name).display().to_string();
        match self {
            Self::Api { path, token } => {
                let credential =
                    token.as_ref().map(|name| format!(" -H \"Authorization: Bearer $(cat '{}')\"", file(name)));
                format!("curl -i{} http://{gateway}{path}", credential.unwrap_or_default())
            }
            Self::Refresh { token, secret } => {
                let (client, secret) = (provider.client(), file(secret));
                let credential = if provider.writes_basic() {
                    format!("-u \"{client}:$(cat '{secret}')\"")
                } else {
                    format!("-d client_id={client} --data-urlencode client_secret@'{secret}'")
                };
                format!(
                    "curl -i {credential} -d grant_type=refresh_token --data-urlencode refresh_token@'{}' {token_endpoint}",
                    file(token)
                )
            }
        }
    }
}

impl Answer {
    /// The status and, of a refusal, the code; of an error of the issuer, its code.
    pub fn told(&self) -> String {
        match self {
            Self::Permitted(_) => "200".to_owned(),
            Self::Refused(code, _) => format!("{} {code}", code.facts().status),
            Self::Issued { same: false } => "200, new tokens".to_owned(),
            Self::Issued { same: true } => "200, a new access token".to_owned(),
            Self::Fault(fault) => format!("{} {} of the issuer", fault.status, fault.error),
        }
    }
}

fn log_in(provider: &Provider, issuer: &Issuer, aimed: bool) -> Result<Tokens, SignFault> {
    let scopes: Vec<&str> = provider.scopes.iter().map(String::as_str).collect();
    issuer.log_in(&scopes, provider.audience.first().map(String::as_str).filter(|_| aimed))
}

fn refused(code: Code) -> Answer {
    Answer::Refused(code, None)
}

/// What the API hears of a token: in the demo's configuration, the subject and the scopes.
fn permitted(issuer: &Issuer, token: &str) -> Answer {
    let claims = issuer.claims(token).unwrap_or_default();
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
    use crate::remote::clock::Clock;

    async fn tour(dialect: &str) -> (&'static Provider, Tour) {
        let provider = Provider::all().unwrap().iter().find(|row| row.dialect == dialect).unwrap();
        let issuer = Issuer::start(provider, Clock::system()).await.unwrap();
        (provider, Tour::new(provider, &issuer).unwrap())
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
            ("a token of a service app", "401 audience_wrong"),
            ("a refresh with a wrong secret", "401 invalid_client of the issuer"),
            ("a refresh", "200, new tokens"),
            ("a refresh with the same refresh token again", "400 invalid_grant of the issuer"),
            ("a refresh after the issuer's keys were rotated", "200, new tokens"),
            ("the access token of before", "200"),
            ("the access token when its life is over", "401 token_expired"),
            ("a refresh when the refresh token's life is over", "400 invalid_grant of the issuer"),
        ];
        let (_, tour) = tour("forgerock-express").await;
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
    async fn an_opaque_token_is_malformed_where_nobody_can_be_asked() {
        let (_, tour) = tour("auth0").await;
        for title in ["the refresh token (opaque)", "an access token where no audience was asked for (opaque)"] {
            assert!(told(&tour).contains(&(title, "401 token_malformed".to_owned())), "{title}");
        }
    }

    #[tokio::test]
    async fn a_curl_line_reads_tokens_and_secrets_from_their_files() {
        let gateway = "127.0.0.1:8080".parse().unwrap();
        let curls = |(provider, tour): (&Provider, Tour)| -> Vec<String> {
            tour.stops
                .iter()
                .map(|stop| stop.request.curl(provider, gateway, "http://i/token", Path::new("/tmp/d")))
                .collect()
        };
        let by_form = curls(tour("forgerock").await);
        assert_eq!(
            by_form[0],
            r#"curl -i -H "Authorization: Bearer $(cat '/tmp/d/access-token')" http://127.0.0.1:8080/orders/7"#
        );
        assert_eq!(by_form[6], "curl -i http://127.0.0.1:8080/orders/7");
        let refresh =
            "-d grant_type=refresh_token --data-urlencode refresh_token@'/tmp/d/first-refresh-token' http://i/token";
        let credential = "-d client_id=spa-client --data-urlencode client_secret@'/tmp/d/client-secret'";
        assert!(by_form.contains(&format!("curl -i {credential} {refresh}")), "{by_form:?}");
        let by_header = curls(tour("forgerock-express").await);
        let credential = r#"-u "express-web:$(cat '/tmp/d/client-secret')""#;
        assert!(by_header.contains(&format!("curl -i {credential} {refresh}")), "{by_header:?}");
    }
}
