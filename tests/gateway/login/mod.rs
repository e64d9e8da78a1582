//! Logins of browsers, their cookie as a credential, and their logout: as a browser would go through them, against an issuer
//! that answers as it is told.

mod attempts;
mod backchannel;
mod callback;
mod credential;
mod granted;
mod keys;
mod logout;
mod outlived;
mod pages;
mod process;
mod replicas;
mod stores;
#[cfg(feature = "otlp")]
mod traces;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use url::Url;

use crate::harness::client::{Answer, Client};
use crate::harness::mint::sign_hmac;
use crate::harness::tokens::Tokens;
use crate::harness::world::{AUDIENCE, World as Around, merged};

/// The origin at which browsers see the gateway.
const ORIGIN: &str = "https://app.example.com";

/// The client's secret, long enough to key HS256.
const SECRET: &str = "the secret of the client, 32 bytes or more";

/// The session cookie.
const COOKIE: &str = "__Host-session";

/// The usual world with a session, and the issuer's endpoints.
struct World {
    around: Around,
    tokens: Tokens,
    issuer_lines: String,
    files: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        Self::configured("", "").await
    }

    /// The same with further lines in the session's section, and further sections.
    async fn configured(session_lines: &str, sections: &str) -> Self {
        Self::with_endpoints("", session_lines, sections).await
    }

    /// The same, with further lines in the issuer's section.
    async fn asking(issuer_lines: &str, sections: &str) -> Self {
        Self::with_endpoints(issuer_lines, "", sections).await
    }

    async fn with_endpoints(issuer_lines: &str, session_lines: &str, sections: &str) -> Self {
        let tokens = Tokens::start().await;
        let endpoints = format!(
            "endpoints = {{ authorization = \"https://login.example.com/authorize?tenant=7\", token = \"{}\", \
             end_session = \"https://login.example.com/logout?tenant=7\", revocation = \"{}\" }}",
            tokens.url(),
            tokens.revocation_url()
        );
        Self::with(tokens, &format!("{endpoints}\n{issuer_lines}"), session_lines, sections).await
    }

    async fn with(tokens: Tokens, issuer_lines: &str, session_lines: &str, sections: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let secret = secret_file(&files, "client_secret", SECRET);
        let around = Around::routed(issuer_lines, &sections_of(&secret, session_lines, sections)).await;
        Self { around, tokens, issuer_lines: issuer_lines.to_owned(), files }
    }

    /// Takes another configuration into force, with these lines in the session's section.
    fn reconfigure(&self, session_lines: &str) {
        let secret = self.files.path().join("client_secret").display().to_string();
        self.around.reroute(&self.issuer_lines, &sections_of(&secret, session_lines, ""));
    }

    fn browser(&self) -> Browser {
        Browser { address: self.around.gateway.address(), cookies: BTreeMap::new() }
    }

    /// The gateway's time, in seconds since 1970.
    fn now(&self) -> u64 {
        let wall = self.around.gateway.shared().clock().wall();
        wall.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    }

    /// The claims of a good ID token for that nonce.
    fn id_claims(&self, nonce: &str) -> Value {
        json!({
            "iss": self.around.issuer.url(),
            "aud": "web",
            "sub": "ada",
            "sid": "sid-ada",
            "nonce": nonce,
            "iat": self.now(),
            "exp": self.now() + 300,
            "name": "Ada",
            "email": "ada@example.com",
            "secret": "not told",
        })
    }

    /// An ID token whose claims are the good ones but for these.
    fn id_token_but(&self, nonce: &str, changes: &Value) -> String {
        let header = json!({ "alg": "RS256", "kid": "key-1", "typ": "JWT" });
        self.around.key.sign(&header, &merged(self.id_claims(nonce), changes))
    }

    /// What the issuer grants to that person.
    fn granted(&self, name: &str, nonce: &str) -> Value {
        let granted = json!({ "access_token": self.around.token(), "id_token": self.id_token_but(nonce, &json!({})) });
        merged(self.tokens.login(name), &granted)
    }

    /// Begins a login in this browser.
    async fn begun(&self, browser: &mut Browser, return_to: &str) -> Begun {
        let query = Url::parse_with_params("http://x/auth/login", [("return_to", return_to)]).unwrap();
        let answer = browser.get(&query.as_str()["http://x".len()..], &[]).await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        Begun::of(&answer)
    }

    /// Where the issuer sends the browser, with a code for which it grants this.
    fn way_back(&self, begun: &Begun, granted: &Value) -> String {
        let code = format!("code-{}", begun.state);
        self.tokens.know_code(&code, granted.clone());
        format!("/auth/callback?code={code}&state={}", begun.state)
    }

    /// The browser comes back with a code for which the issuer grants this.
    async fn comes_back(&self, browser: &mut Browser, begun: &Begun, granted: &Value) -> Answer {
        browser.get(&self.way_back(begun, granted), &[]).await
    }

    /// A browser that is logged in.
    async fn logged_in(&self) -> Browser {
        let mut browser = self.browser();
        let begun = self.begun(&mut browser, "/orders").await;
        let answer = self.comes_back(&mut browser, &begun, &self.granted("ada", &begun.nonce)).await;
        assert_eq!((answer.status, answer.header("location")), (302, Some("/orders")), "{}", answer.text());
        browser
    }

    /// A browser whose session has this access token.
    async fn logged_in_with(&self, access_token: &str) -> Browser {
        let mut browser = self.browser();
        let begun = self.begun(&mut browser, "/").await;
        let granted = merged(self.granted("ada", &begun.nonce), &json!({ "access_token": access_token }));
        assert_eq!(self.comes_back(&mut browser, &begun, &granted).await.status, 302);
        browser
    }

    /// A second passes, so that a login is later than what was before it.
    fn passes(&self) {
        self.around.hands.advance(std::time::Duration::from_secs(1));
    }

    /// How often this happened to sessions.
    fn events(&self, event: &str) -> f64 {
        let series = format!("bearward_sessions_total{{event=\"{event}\",session=\"web\"}}");
        self.around.gateway.sample(&series).unwrap_or_default()
    }
}

/// A file that not everybody may read.
fn secret_file(directory: &tempfile::TempDir, name: &str, text: &str) -> String {
    let file = directory.path().join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    file.display().to_string()
}

fn sections_of(secret: &str, session_lines: &str, sections: &str) -> String {
    format!(
        r#"
[policies.orders]
issuers = ["main"]
audience = ["{AUDIENCE}"]
scopes = ["read"]

[[routes]]
name = "orders"
path = "/orders/*"
policy = "orders"
upstream = "api"
session = "web"

[[routes]]
name = "open"
path = "/open"
policy = "public"
upstream = "api"

[sessions.web]
issuer = "main"
origin = "{ORIGIN}"
client_id = "web"
client_secret = {{ file = "{secret}" }}
scopes = ["openid", "read"]
claims = ["name", "email", "absent"]
{session_lines}

{sections}
"#
    )
}

/// A login on its way.
struct Begun {
    address: Url,
    state: String,
    nonce: String,
}

impl Begun {
    fn of(answer: &Answer) -> Self {
        let address = Url::parse(answer.header("location").unwrap()).unwrap();
        let parameter = |name: &str| address.query_pairs().find(|(own, _)| own == name).unwrap().1.into_owned();
        Self { state: parameter("state"), nonce: parameter("nonce"), address }
    }
}

/// A browser that keeps its cookies and follows nothing by itself.
#[derive(Clone)]
struct Browser {
    address: SocketAddr,
    cookies: BTreeMap<String, String>,
}

/// What a browser says of a user who goes to a page.
const NAVIGATES: &[(&str, &str)] = &[("sec-fetch-mode", "navigate"), ("accept", "text/html")];

/// What it says of a script of our own page.
const SCRIPT: &[(&str, &str)] = &[("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin"), ("accept", "*/*")];

impl Browser {
    async fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", target, headers).await
    }

    async fn post(&mut self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("POST", target, headers).await
    }

    async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let answer = self.peek(method, target, headers).await;
        self.keep(&answer);
        answer
    }

    /// Keeps and forgets the cookies that an answer says.
    fn keep(&mut self, answer: &Answer) {
        for field in set_cookies(answer) {
            let (pair, attributes) = field.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// The same, and nothing is kept of the answer.
    async fn peek(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        Client::connect(self.address).await.ask(self.request(method, target, headers)).await
    }

    /// What it sends.
    fn request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let mut fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        if !self.cookies.is_empty() {
            let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            fields.push_str(&format!("cookie: {}\r\n", cookies.join("; ")));
        }
        if method != "GET" {
            fields.push_str("content-length: 0\r\n");
        }
        format!("{method} {target} HTTP/1.1\r\nhost: app.example.com\r\n{fields}\r\n")
    }

    fn with_cookie(&self, value: &str) -> Self {
        Self { address: self.address, cookies: [(COOKIE.to_owned(), value.to_owned())].into() }
    }
}

/// Every cookie that an answer sets.
fn set_cookies(answer: &Answer) -> Vec<&str> {
    let named = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    named.map(|(_, value)| value.as_str()).collect()
}

/// A token of the client secret.
fn signed_by_secret(claims: &Value) -> String {
    sign_hmac(SECRET.as_bytes(), &json!({ "alg": "HS256", "typ": "JWT" }), claims)
}
