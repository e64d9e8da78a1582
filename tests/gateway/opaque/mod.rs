//! Opaque tokens: the issuer is asked about them, and what it answers is judged like what it signs.

mod answers;
mod calls;
mod troubles;

use std::time::SystemTime;

use bearward::remote::clock::{Clock, Hands};
use serde_json::{Value, json};

use crate::harness::client::{Answer, Client};
use crate::harness::forms::Reply;
use crate::harness::gateway::Served;
use crate::harness::introspection::Introspection;
use crate::harness::issuer::Issuer;
use crate::harness::mint::Key;
use crate::harness::upstream::Upstream;
use crate::harness::world::{AUDIENCE, merged};

/// An opaque token.
const TOKEN: &str = "0f3a5c-opaque_token~1";

/// An issuer with an introspection endpoint, an upstream, and a gateway whose clock stands still until `hands` move it.
struct World {
    issuer: Issuer,
    endpoint: Introspection,
    upstream: Upstream,
    gateway: Served,
    toml: String,
    hands: Hands,
    key: Key,
    now: u64,
}

impl World {
    async fn start() -> Self {
        Self::configured("", "").await
    }

    /// With further lines for the issuer, and for its introspection by a client without a secret.
    async fn configured(issuer_lines: &str, lines: &str) -> Self {
        Self::asking(issuer_lines, &format!("auth_method = \"none\"\n{lines}")).await
    }

    /// The same, with all that the client needs.
    async fn asking(issuer_lines: &str, lines: &str) -> Self {
        let endpoint = Introspection::start().await;
        let lines = format!("endpoint = \"{}\"\n{lines}", endpoint.url());
        Self::began(endpoint, issuer_lines, &lines).await
    }

    /// The usual world, but for the endpoint: that is learned from the issuer.
    async fn discovering() -> Self {
        Self::began(Introspection::start().await, "", "auth_method = \"none\"").await
    }

    async fn began(endpoint: Introspection, issuer_lines: &str, lines: &str) -> Self {
        let key = Key::rsa("key-1");
        let (issuer, upstream) = (Issuer::start(&[key]).await, Upstream::start().await);
        let toml = format!(
            r#"
[issuers.main]
issuer = "{}"
{issuer_lines}
[issuers.main.introspection]
client_id = "gateway"
{lines}
[upstreams.api]
url = "{}"
identity_headers = {{ x-user = "sub" }}
[[routes]]
name = "read"
path = "/*"
upstream = "api"
policy = {{ audience = ["{AUDIENCE}"], scopes = ["read"] }}
[[routes]]
name = "write"
path = "/write"
upstream = "api"
policy = {{ audience = ["{AUDIENCE}"], scopes = ["write"] }}
[[routes]]
name = "client"
path = "/client"
upstream = "api"
policy = {{ client_ids = ["web"] }}
"#,
            issuer.url(),
            upstream.url()
        );
        // A whole second, so that expiry can be met exactly.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let (clock, hands) = Clock::manual(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(now));
        let gateway = Served::timed(&toml, clock);
        Self { issuer, endpoint, upstream, gateway, toml, hands, key, now }
    }

    /// What the endpoint says of a good token.
    fn claims(&self) -> Value {
        json!({
            "active": true,
            "token_type": "Bearer",
            "iss": self.issuer.url(),
            "aud": AUDIENCE,
            "exp": self.now + 3600,
            "iat": self.now,
            "sub": "alice",
            "client_id": "web",
            "scope": "read extra",
        })
    }

    /// Has the endpoint say of [`TOKEN`] that it is good but for these; null removes a member.
    fn knows_but(&self, changes: &Value) {
        self.endpoint.know(TOKEN, Reply::json(&merged(self.claims(), changes)));
    }

    async fn get(&self, token: &str) -> Answer {
        self.get_at("/orders", token).await
    }

    async fn get_at(&self, path: &str, token: &str) -> Answer {
        let mut client = Client::connect(self.gateway.address()).await;
        client.ask(format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\r\n")).await
    }

    /// Asks with [`TOKEN`] and compares status and code of the refusal, or that it passes.
    async fn comes_to(&self, expected: (u16, &str), case: &str) {
        let answer = self.get(TOKEN).await;
        assert_eq!((answer.status, code(&answer).as_str()), expected, "{case}: {}", answer.text());
    }
}

/// The code of a refusal; empty where the upstream answered.
fn code(answer: &Answer) -> String {
    if answer.status == 200 { String::new() } else { answer.code() }
}
