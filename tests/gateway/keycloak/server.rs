//! Keycloak as a process, with a realm of its own, and the flows by which clients get tokens from it.

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{Url, form_urlencoded};

use crate::harness::browser::{Answer, Browser};
use crate::harness::port::Port;
use crate::harness::process::{Process, installed};

/// The realm's client, and its secret.
pub const CLIENT: &str = "shop-web";
pub const SECRET: &str = "the secret of shop-web";
/// The person, whose password is the same.
const USER: &str = "jo";

const REDIRECT_URI: &str = "http://127.0.0.1/callback";

/// A Keycloak that serves the realm `shop`. Dropped, it is gone.
pub struct Keycloak {
    home: PathBuf,
    port: Port,
    /// What it keeps over a restart.
    database: TempDir,
    process: Option<Process>,
}

impl Keycloak {
    /// Starts it and makes the realm, where it is installed.
    pub async fn start() -> Option<Self> {
        let home = installed("Keycloak", "target/keycloak/server")?;
        let mut keycloak = Self { home, port: Port::reserve(), database: TempDir::new().unwrap(), process: None };
        keycloak.start_again().await;
        keycloak.make_realm().await;
        Some(keycloak)
    }

    /// Ends it, and waits until it is gone.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it where it was, with the keys and clients that it had.
    pub async fn start_again(&mut self) {
        let (address, port) = (format!("http://{}", self.port.address()), self.port.address().port().to_string());
        let database = self.database.path().join("keycloak").display().to_string();
        let url = format!("jdbc:h2:file:{database};NON_KEYWORDS=VALUE;DB_CLOSE_ON_EXIT=FALSE");
        let variables = [
            ("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx512m"),
            ("KC_DB_URL", url.as_str()),
            ("KC_BOOTSTRAP_ADMIN_USERNAME", "admin"),
            ("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin"),
        ];
        let program = self.home.join("bin/kc.sh").display().to_string();
        let (port, hostname) = (format!("--http-port={port}"), format!("--hostname={address}"));
        let arguments = [
            program.as_str(),
            "start",
            "--optimized",
            "--http-enabled=true",
            "--http-host=127.0.0.1",
            port.as_str(),
            hostname.as_str(),
            "--cache=local",
        ];
        self.process = Some(Process::start(&arguments, &variables, &[self.port.address()]).await);
    }

    pub fn issuer(&self) -> String {
        format!("http://{}/realms/shop", self.port.address())
    }

    pub async fn discovery(&self) -> Value {
        let url = format!("{}/.well-known/openid-configuration", self.issuer()).parse().unwrap();
        let answer = Browser::default().send(Method::GET, &url, &[], String::new()).await;
        serde_json::from_str(&answer.body).unwrap()
    }

    /// A form to an endpoint, from the client with this secret.
    pub async fn post(&self, endpoint: &str, form: &[(&str, &str)], secret: &str) -> Answer {
        self.post_as(CLIENT, endpoint, form, secret).await
    }

    /// What the token endpoint says to a refresh token.
    pub async fn refresh(&self, token: &str) -> Answer {
        self.post("token", &[("grant_type", "refresh_token"), ("refresh_token", token)], SECRET).await
    }

    /// An access token for the API by the client credentials grant, with these scopes.
    pub async fn machine_token(&self, scope: &str) -> String {
        let mut grant = vec![("grant_type", "client_credentials")];
        grant.extend((!scope.is_empty()).then_some(("scope", scope)));
        let answer = self.post("token", &grant, SECRET).await;
        text(&serde_json::from_str(&answer.body).unwrap(), "access_token")
    }

    /// The same of a client that has no audience mapper.
    pub async fn unaimed_token(&self) -> String {
        let grant = [("grant_type", "client_credentials"), ("scope", "orders")];
        let answer = self.post_as("plain", "token", &grant, SECRET).await;
        text(&serde_json::from_str(&answer.body).unwrap(), "access_token")
    }

    /// Logs the person in as a browser does and redeems the code: what the token endpoint then answers.
    pub async fn log_in(&self, scope: &str) -> Value {
        let query = [
            ("client_id", CLIENT),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", scope),
            ("state", "the state"),
            ("nonce", "the nonce"),
        ];
        let start = Url::parse_with_params(&self.endpoint("auth"), query).unwrap();
        let mut browser = Browser::default();
        let page = browser.send(Method::GET, &start, &[], String::new()).await;
        let form = page.body.split_once("action=\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
        let form = form.replace("&amp;", "&").parse().unwrap();
        let answer = browser.post(&form, &[], format!("username={USER}&password={USER}")).await;
        assert_eq!(answer.status, 302, "{}", answer.body);
        let back: Url = answer.location().parse().unwrap();
        let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        let grant = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", REDIRECT_URI)];
        let answer = self.post("token", &grant, SECRET).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Signs with a new key from now on; the former ones stay in the key set.
    pub async fn rotate_keys(&self) {
        let realm = self.admin(Method::GET, "/admin/realms/shop", None).await;
        let realm: Value = serde_json::from_str(&realm.body).unwrap();
        let keys =
            format!("/admin/realms/shop/components?parent={}&type=org.keycloak.keys.KeyProvider", text(&realm, "id"));
        let present = self.admin(Method::GET, &keys, None).await;
        let present: Vec<Value> = serde_json::from_str(&present.body).unwrap();
        let key = json!({
            "name": "another",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm["id"],
            // The highest priority signs.
            "config": { "priority": [(1000 + present.len()).to_string()], "algorithm": ["RS256"], "keySize": ["2048"] },
        });
        let answer = self.admin(Method::POST, "/admin/realms/shop/components", Some(&key)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    /// A client of the realm that logs browsers in at that origin, with access tokens of ten seconds; and from now on each
    /// refresh token counts once.
    pub async fn log_browsers_in(&self, client: &str, origin: &str) {
        let client = json!({
            "clientId": client,
            "secret": SECRET,
            "redirectUris": [format!("{origin}/auth/callback")],
            "protocolMappers": [audience_mapper()],
            "attributes": {
                "access.token.lifespan": "10",
                "post.logout.redirect.uris": format!("{origin}/"),
                "backchannel.logout.url": format!("{origin}/auth/backchannel-logout"),
                "backchannel.logout.session.required": "true",
            },
        });
        let answer = self.admin(Method::POST, "/admin/realms/shop/clients", Some(&client)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let client = answer.location().rsplit('/').next().unwrap().to_owned();
        let scopes = self.admin(Method::GET, "/admin/realms/shop/client-scopes", None).await;
        let scopes: Vec<Value> = serde_json::from_str(&scopes.body).unwrap();
        let orders = text(scopes.iter().find(|scope| scope["name"] == "orders").unwrap(), "id");
        let path = format!("/admin/realms/shop/clients/{client}/optional-client-scopes/{orders}");
        assert_eq!(self.admin(Method::PUT, &path, None).await.status, 204);
        let once = json!({ "revokeRefreshToken": true, "refreshTokenMaxReuse": 0 });
        assert_eq!(self.admin(Method::PUT, "/admin/realms/shop", Some(&once)).await.status, 204);
    }

    async fn make_realm(&self) {
        let client = |id: &str, mappers: &[Value]| {
            json!({
                "clientId": id, "secret": SECRET, "redirectUris": [REDIRECT_URI], "standardFlowEnabled": true,
                "serviceAccountsEnabled": true, "protocolMappers": mappers,
            })
        };
        let realm = json!({
            "realm": "shop",
            "enabled": true,
            "sslRequired": "none",
            "clients": [client(CLIENT, &[audience_mapper()]), client("plain", &[])],
            "users": [{
                "username": USER, "enabled": true, "email": "jo@acme.example", "emailVerified": true,
                "firstName": "Jo", "lastName": "Example", "realmRoles": ["offline_access"],
                "credentials": [{ "type": "password", "value": USER }],
            }],
        });
        let answer = self.admin(Method::POST, "/admin/realms", Some(&realm)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let scope = json!({
            "name": "orders", "protocol": "openid-connect", "attributes": { "include.in.token.scope": "true" },
        });
        let answer = self.admin(Method::POST, "/admin/realms/shop/client-scopes", Some(&scope)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let scope = answer.location().rsplit('/').next().unwrap().to_owned();
        let clients = self.admin(Method::GET, "/admin/realms/shop/clients", None).await;
        let clients: Vec<Value> = serde_json::from_str(&clients.body).unwrap();
        for client in clients.iter().filter(|client| client["clientId"] == CLIENT || client["clientId"] == "plain") {
            let path = format!("/admin/realms/shop/clients/{}/optional-client-scopes/{scope}", text(client, "id"));
            assert_eq!(self.admin(Method::PUT, &path, None).await.status, 204);
        }
    }

    async fn post_as(&self, client: &str, endpoint: &str, form: &[(&str, &str)], secret: &str) -> Answer {
        let form = [form, &[("client_id", client), ("client_secret", secret)]].concat();
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        Browser::default().post(&self.endpoint(endpoint).parse().unwrap(), &[], body).await
    }

    pub fn endpoint(&self, name: &str) -> String {
        format!("{}/protocol/openid-connect/{name}", self.issuer())
    }

    /// A call to the administrator's API.
    async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let origin = format!("http://{}", self.port.address());
        let grant = "grant_type=password&client_id=admin-cli&username=admin&password=admin".to_owned();
        let endpoint = format!("{origin}/realms/master/protocol/openid-connect/token").parse().unwrap();
        let token = Browser::default().post(&endpoint, &[], grant).await;
        let token = format!("Bearer {}", text(&serde_json::from_str(&token.body).unwrap(), "access_token"));
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let body = body.map(Value::to_string).unwrap_or_default();
        Browser::default().send(method, &format!("{origin}{path}").parse().unwrap(), &headers, body).await
    }
}

/// Puts the API into the audience of a client's access tokens, and of its ID tokens.
fn audience_mapper() -> Value {
    json!({
        "name": "api",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {
            "included.custom.audience": "orders-api", "access.token.claim": "true", "id.token.claim": "true",
        },
    })
}

/// A member of an answer.
pub fn text(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap_or_else(|| panic!("no {member} in {answer}")).to_owned()
}
