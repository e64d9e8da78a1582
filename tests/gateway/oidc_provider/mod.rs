//! Tokens that a certified provider really issued, by its own rules, sent through the gateway's binary.
//!
//! `tests/run` installs the provider (npm `oidc-provider`) from the lockfile in `tests/oidc-provider`.

mod opaque;
pub mod provider;
mod rotation;
mod session;

use std::time::{SystemTime, UNIX_EPOCH};

use bearward::config::Authentication;
use bearward::remote::clock::Clock;
use serde_json::json;

use self::provider::{Provider, text};
use crate::harness::binary::Binary;
use crate::harness::client::{Answer, Client};
use crate::harness::mint::Key;
use crate::harness::replica::{Kept, source};
use crate::harness::upstream::Upstream;

const API: &str = "https://es256.api.example";

/// The provider, the gateway that trusts it, and the API behind.
struct World {
    provider: Provider,
    upstream: Upstream,
    gateway: Binary,
}

impl World {
    async fn start() -> Option<Self> {
        let provider = Provider::start()?;
        let upstream = Upstream::start().await;
        // No dialect: the provider marks its access tokens as RFC 9068 says.
        let gateway = Binary::start(&format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            workers = 1
            drain = {{ delay = "0s", timeout = "5s" }}

            [admin]
            listen = "127.0.0.1:0"

            [log]
            format = "text"

            [issuers.main]
            issuer = "{}"

            [upstreams.orders]
            url = "{}"
            identity_headers = {{ x-user = "sub", x-client = "client_id" }}

            [policies.read-orders]
            audience = [
                "https://rs256.api.example", "https://ps256.api.example",
                "https://es256.api.example", "https://eddsa.api.example",
            ]
            scopes = ["read:orders"]

            [[routes]]
            path = "/orders/*"
            policy = "read-orders"
            upstream = "orders"
            "#,
            provider.issuer,
            upstream.url()
        ));
        Some(Self { provider, upstream, gateway })
    }

    async fn send(&self, token: &str) -> Answer {
        let mut client = Client::connect(self.gateway.address).await;
        client
            .ask(format!("GET /orders/1 HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {token}\r\n\r\n"))
            .await
    }

    /// The token reaches the API, which is told whose it is.
    async fn passes(&self, token: &str, user: &str, client: &str) {
        let before = self.upstream.requests().len();
        let answer = self.send(token).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
        let seen = self.upstream.requests();
        let [request] = &seen[before..] else { panic!("{} requests reached the API", seen.len() - before) };
        assert_eq!(request.target(), "/orders/1");
        assert_eq!((request.all("x-user"), request.all("x-client")), (vec![user], vec![client]));
    }

    /// The token is refused by this code, and the API hears nothing.
    async fn refused(&self, token: &str, status: u16, code: &str, challenge: &str) {
        let before = self.upstream.requests().len();
        let answer = self.send(token).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        let told = answer.header("www-authenticate").unwrap();
        assert!(told.starts_with(r#"Bearer realm="bearward""#) && told.contains(challenge), "{code}: {told}");
        assert!(!answer.text().contains(token) && !told.contains(token), "{code}: the token is told back");
        assert_eq!(self.upstream.requests().len(), before, "{code}: the API was asked");
    }
}

#[tokio::test]
async fn access_tokens_of_a_real_provider_pass() {
    let Some(world) = World::start().await else { return };
    for algorithm in ["rs256", "ps256", "es256", "eddsa"] {
        let api = format!("https://{algorithm}.api.example");
        let token = world.provider.machine_token(&api, "read:orders write:orders").await;
        world.passes(&token, "machine", "machine").await;
    }
    let login = world.provider.log_in(Some(API), "openid offline_access read:orders").await;
    world.passes(&text(&login, "access_token"), "ada", "web").await;
    let refreshed = world.provider.refresh(&text(&login, "refresh_token"), API).await;
    assert_ne!(refreshed["access_token"], login["access_token"]);
    world.passes(&text(&refreshed, "access_token"), "ada", "web").await;
}

#[tokio::test]
async fn whatever_else_a_real_provider_issues_is_refused_by_its_name() {
    let Some(world) = World::start().await else { return };
    let invalid = r#"error="invalid_token""#;
    let login = world.provider.log_in(Some(API), "openid offline_access read:orders").await;
    let id_token = text(&login, "id_token");
    world.refused(&id_token, 401, "id_token_presented", invalid).await;
    // The provider's refresh tokens, and its access tokens for no API, are opaque.
    let refresh_token = text(&login, "refresh_token");
    world.refused(&refresh_token, 401, "token_malformed", invalid).await;
    let opaque = text(&world.provider.log_in(None, "openid").await, "access_token");
    world.refused(&opaque, 401, "token_malformed", invalid).await;
    let foreign = world.provider.machine_token("https://another.api.example", "read:orders").await;
    world.refused(&foreign, 401, "audience_wrong", invalid).await;
    let weak = world.provider.machine_token(API, "write:orders").await;
    world.refused(&weak, 403, "scope_insufficient", r#"error="insufficient_scope", "#).await;
    world.refused(&weak, 403, "scope_insufficient", r#"scope="read:orders""#).await;
    let bound = world.provider.bound_token(API, "read:orders", &proof(&world.provider)).await;
    assert_eq!(bound["token_type"], "DPoP");
    world.refused(&text(&bound, "access_token"), 401, "proof_required", invalid).await;

    // A token that passes shows that the gateway was able to permit all along.
    let good = text(&login, "access_token");
    world.passes(&good, "ada", "web").await;

    let metrics = Client::connect(world.gateway.admin).await.get("/metrics").await.text().to_owned();
    for code in ["id_token_presented", "audience_wrong", "scope_insufficient", "proof_required", "permitted"] {
        assert!(metrics.contains(&format!(r#"outcome="{code}""#)), "{code} is not counted:\n{metrics}");
    }
    let (status, written) = world.gateway.terminate();
    assert_eq!(status.code(), Some(0), "{written}");
    assert!(written.contains("id_token_presented"), "{written}");
    for token in [id_token, refresh_token, opaque, foreign, weak, text(&bound, "access_token"), good] {
        // The signature alone would do to tell a token.
        let tail = token.rsplit('.').next().unwrap();
        assert!(!written.contains(tail) && !metrics.contains(tail), "a token was written");
    }
}

#[tokio::test]
async fn a_session_at_a_real_provider_is_kept_fresh() {
    let Some(provider) = Provider::start() else { return };
    let login = provider.log_in(Some(API), "openid offline_access read:orders").await;
    let (clock, hands) = Clock::manual(SystemTime::now());
    let [token, revocation] = ["/token", "/token/revocation"].map(|path| format!("{}{path}", provider.issuer));
    Kept::fresh(source(&token, &revocation, "web", Authentication::None), &clock, &hands, &login, 1).await;
}

/// A DPoP proof for the token endpoint (RFC 9449 section 4.2).
fn proof(provider: &Provider) -> String {
    let key = Key::p256("dpop");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    key.sign(
        &json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk() }),
        &json!({ "jti": "once", "htm": "POST", "htu": format!("{}/token", provider.issuer), "iat": now }),
    )
}
