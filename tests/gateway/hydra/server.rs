//! Ory Hydra as a process, and the flows by which clients get tokens from it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{Url, form_urlencoded};

use crate::harness::browser::Browser;
use crate::harness::port::Port;
use crate::harness::process::{Process, installed};

/// The API that tokens are for.
pub const API: &str = "https://api.example.com";

const REDIRECT_URI: &str = "http://127.0.0.1/callback";
/// The secret of either client.
pub const SECRET: &str = "the secret of both";

/// A Hydra with two clients. Dropped, it is gone.
pub struct Hydra {
    program: PathBuf,
    public: Port,
    admin: Port,
    /// What it keeps over a restart.
    database: TempDir,
    process: Option<Process>,
}

/// The clients, by the form of their access tokens.
#[derive(Debug, Clone, Copy)]
pub enum Client {
    Jwt,
    Opaque,
}

impl Client {
    pub fn id(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Opaque => "opaque",
        }
    }
}

impl Hydra {
    /// Starts it and makes its clients, where it is built.
    pub async fn start() -> Option<Self> {
        let program = installed("Ory Hydra", "target/hydra/hydra")?;
        let (public, admin) = (Port::reserve(), Port::reserve());
        let mut hydra = Self { program, public, admin, database: TempDir::new().unwrap(), process: None };
        let migrated = Command::new(&hydra.program)
            .args(["migrate", "sql", "-e", "--yes"])
            .envs(hydra.variables())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(migrated.unwrap().success(), "Hydra's database cannot be made");
        hydra.start_again().await;
        for set in ["hydra.jwt.access-token", "hydra.openid.id-token"] {
            hydra.make_key(set).await;
        }
        for client in [Client::Jwt, Client::Opaque] {
            hydra.make(client).await;
        }
        Some(hydra)
    }

    /// Ends it, and waits until it is gone.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it where it was, with the keys and clients that it had.
    pub async fn start_again(&mut self) {
        let variables = self.variables();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let program = self.program.display().to_string();
        let arguments = [program.as_str(), "serve", "all", "--dev", "--sqa-opt-out"];
        self.process =
            Some(Process::start(&arguments, &variables, &[self.public.address(), self.admin.address()]).await);
    }

    /// With its slash.
    pub fn issuer(&self) -> String {
        format!("http://{}/", self.public.address())
    }

    /// On the administrator's port, where nobody has to authenticate.
    pub fn introspection(&self) -> String {
        format!("http://{}/admin/oauth2/introspect", self.admin.address())
    }

    /// What it says of a token.
    pub async fn introspect(&self, token: &str) -> Value {
        self.form(&self.introspection(), &[("token", token)]).await
    }

    /// An access token by the client credentials grant.
    pub async fn machine_token(&self, client: Client, audience: &str, scope: &str) -> String {
        let grant = [("grant_type", "client_credentials"), ("audience", audience), ("scope", scope)];
        text(&self.token(client, &grant).await, "access_token")
    }

    /// What the token endpoint says to a refresh token.
    pub async fn refresh(&self, client: Client, token: &str) -> Value {
        self.token(client, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// What it says to a refresh token that it does not take.
    pub async fn refused_refresh(&self, client: Client, token: &str) -> Value {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", client.id()),
            ("client_secret", SECRET),
        ];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let endpoint = format!("{}oauth2/token", self.issuer()).parse().unwrap();
        let answer = Browser::default().post(&endpoint, &[], body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    pub async fn revoke(&self, client: Client, token: &str) {
        let fields = [("token", token), ("client_id", client.id()), ("client_secret", SECRET)];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let endpoint = format!("{}oauth2/revoke", self.issuer()).parse().unwrap();
        assert_eq!(Browser::default().post(&endpoint, &[], body).await.status, 200);
    }

    /// Logs `jo` in and redeems the code: what the token endpoint then answers. The pages of login and consent are an
    /// application of one's own; here the administrator's API says what they would.
    pub async fn log_in(&self, client: Client, scope: &str) -> Value {
        let query = [
            ("client_id", client.id()),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", scope),
            ("audience", API),
            ("state", "a state of some length"),
            ("nonce", "a nonce of some length"),
        ];
        let mut browser = Browser::default();
        let start = Url::parse_with_params(&format!("{}oauth2/auth", self.issuer()), query).unwrap();
        let page = go(&mut browser, &start).await;
        let subject = json!({ "subject": "jo" });
        let login = self.accept("login", &page, &subject).await;
        let page = go(&mut browser, &login).await;
        let scopes: Vec<&str> = scope.split(' ').collect();
        let granted = json!({ "grant_scope": scopes, "grant_access_token_audience": [API] });
        let consent = self.accept("consent", &page, &granted).await;
        let back = go(&mut browser, &consent).await;
        let code = parameter(&back, "code");
        self.token(client, &[("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", REDIRECT_URI)])
            .await
    }

    /// Signs access tokens with a new key from now on; the former ones stay in the key set.
    pub async fn rotate_keys(&self) {
        self.make_key("hydra.jwt.access-token").await;
    }

    /// Its own keys would be RSA of 4096 bits, which take longer to make than it lets a request take on a busy machine.
    async fn make_key(&self, set: &str) {
        let key = json!({ "alg": "ES256", "kid": "", "use": "sig" });
        self.admin(Method::POST, &format!("/admin/keys/{set}"), &key, 201).await;
    }

    async fn make(&self, client: Client) {
        let body = json!({
            "client_id": client.id(),
            "client_secret": SECRET,
            "grant_types": ["client_credentials", "authorization_code", "refresh_token"],
            "response_types": ["code"],
            "redirect_uris": [REDIRECT_URI],
            "scope": "openid offline orders.read orders.write",
            "audience": [API, "https://another.example"],
            "token_endpoint_auth_method": "client_secret_post",
            "access_token_strategy": client.id(),
        });
        self.admin(Method::POST, "/admin/clients", &body, 201).await;
    }

    /// What the pages of login or consent would say; where the browser goes then.
    async fn accept(&self, what: &str, page: &Url, body: &Value) -> Url {
        let challenge = parameter(page, &format!("{what}_challenge"));
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair(&format!("{what}_challenge"), &challenge)
            .finish();
        let answer =
            self.admin(Method::PUT, &format!("/admin/oauth2/auth/requests/{what}/accept?{query}"), body, 200).await;
        text(&answer, "redirect_to").parse().unwrap()
    }

    async fn token(&self, client: Client, grant: &[(&str, &str)]) -> Value {
        let grant: Vec<_> = grant.iter().filter(|(_, value)| !value.is_empty()).copied().collect();
        let fields = [grant, vec![("client_id", client.id()), ("client_secret", SECRET)]].concat();
        self.form(&format!("{}oauth2/token", self.issuer()), &fields).await
    }

    async fn form(&self, url: &str, fields: &[(&str, &str)]) -> Value {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let answer = Browser::default().post(&url.parse().unwrap(), &[], body).await;
        assert_eq!(answer.status, 200, "{url} says {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    async fn admin(&self, method: Method, path: &str, body: &Value, status: u16) -> Value {
        let url = format!("http://{}{path}", self.admin.address()).parse().unwrap();
        let headers = [("content-type", "application/json")];
        let answer = Browser::default().send(method, &url, &headers, body.to_string()).await;
        assert_eq!(answer.status, status, "{path} says {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    fn variables(&self) -> [(&'static str, String); 10] {
        let database = self.database.path().join("hydra.sqlite");
        [
            ("DSN", format!("sqlite://{}?_fk=true", database.display())),
            ("SECRETS_SYSTEM", "a secret of more than sixteen characters".to_owned()),
            ("URLS_SELF_ISSUER", self.issuer()),
            // Nobody listens there: only the addresses are looked at.
            ("URLS_LOGIN", "http://127.0.0.1:1/login".to_owned()),
            ("URLS_CONSENT", "http://127.0.0.1:1/consent".to_owned()),
            ("SERVE_PUBLIC_HOST", self.public.address().ip().to_string()),
            ("SERVE_PUBLIC_PORT", self.public.address().port().to_string()),
            ("SERVE_ADMIN_HOST", self.admin.address().ip().to_string()),
            ("SERVE_ADMIN_PORT", self.admin.address().port().to_string()),
            // With this the key set tells the keys of access tokens; a client may still have opaque ones.
            ("STRATEGIES_ACCESS_TOKEN", "jwt".to_owned()),
        ]
    }
}

/// One request of a browser, and where it is sent.
async fn go(browser: &mut Browser, url: &Url) -> Url {
    let answer = browser.send(Method::GET, url, &[], String::new()).await;
    assert!(answer.status == 302 || answer.status == 303, "{url} says {}: {}", answer.status, answer.body);
    answer.location().parse().unwrap()
}

fn parameter(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
}

/// A member of an answer.
pub fn text(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap_or_else(|| panic!("no {member} in {answer}")).to_owned()
}
