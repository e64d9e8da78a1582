//! Opaque tokens of a certified provider, which the gateway asks it about (RFC 7662).

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::provider::{Provider, text};
use crate::harness::binary::Binary;
use crate::harness::client::{Answer, Client};
use crate::harness::upstream::Upstream;

const API: &str = "https://opaque.api.example";

/// The provider, and a gateway that asks it with this secret and remembers nothing.
struct World {
    provider: Provider,
    gateway: Binary,
    _upstream: Upstream,
    _secrets: TempDir,
}

impl World {
    async fn start(secret: &str) -> Option<Self> {
        let provider = Provider::start()?;
        let upstream = Upstream::start().await;
        let secrets = TempDir::new().unwrap();
        let file = secrets.path().join("secret");
        std::fs::write(&file, secret).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let gateway = Binary::start(&format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            drain = {{ delay = "0s", timeout = "5s" }}
            [admin]
            listen = "127.0.0.1:0"
            [log]
            format = "text"
            [issuers.main]
            issuer = "{}"
            dialect = "oidc-provider"
            [issuers.main.introspection]
            client_id = "gateway"
            timeout = "60s"
            client_secret = {{ file = "{}" }}
            cache = "0s"
            negative_cache = "0s"
            [[routes]]
            path = "/*"
            policy = {{ audience = ["{API}", "https://es256.api.example"], scopes = ["read:orders"] }}
            upstream = "{}"
            "#,
            provider.issuer,
            file.display(),
            upstream.url()
        ));
        Some(Self { provider, gateway, _upstream: upstream, _secrets: secrets })
    }

    async fn send(&self, token: &str) -> Answer {
        let mut client = Client::connect(self.gateway.address).await;
        client.ask(format!("GET / HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {token}\r\n\r\n")).await
    }

    async fn comes_to(&self, token: &str, status: u16, code: &str) {
        let answer = self.send(token).await;
        let found = if answer.status == 200 { String::new() } else { answer.code() };
        assert_eq!((answer.status, found.as_str()), (status, code));
    }
}

#[tokio::test]
async fn opaque_tokens_of_a_real_provider_are_asked_about() {
    let Some(world) = World::start("the: secret of %gateway").await else { return };
    let token = world.provider.machine_token(API, "read:orders write:orders").await;
    assert!(!token.contains('.'), "it is opaque");
    world.comes_to(&token, 200, "").await;
    // JWTs on the same route need no call.
    let jwt = world.provider.machine_token("https://es256.api.example", "read:orders").await;
    world.comes_to(&jwt, 200, "").await;
    let weak = world.provider.machine_token(API, "write:orders").await;
    world.comes_to(&weak, 403, "scope_insufficient").await;
    world.comes_to("invented", 401, "token_inactive").await;
    world.provider.revoke(&token).await;
    world.comes_to(&token, 401, "token_inactive").await;

    let login = world.provider.log_in(Some(API), "openid offline_access read:orders").await;
    let (access, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));
    world.comes_to(&access, 200, "").await;
    // The provider says `active` of a refresh token too.
    world.comes_to(&refresh, 401, "token_kind_unknown").await;
    world.comes_to(&text(&login, "id_token"), 401, "id_token_presented").await;
    let renewed = world.provider.refresh(&refresh, API).await;
    world.comes_to(&text(&renewed, "access_token"), 200, "").await;
    let for_nobody = text(&world.provider.log_in(None, "openid").await, "access_token");
    world.comes_to(&for_nobody, 401, "audience_wrong").await;

    let (_, written) = world.gateway.terminate();
    for token in [token, weak, access, refresh] {
        assert!(!written.contains(&token), "a token was written");
    }
}

#[tokio::test]
async fn a_real_provider_that_does_not_know_our_client_is_our_fault() {
    let Some(world) = World::start("another").await else { return };
    let token = world.provider.machine_token(API, "read:orders").await;
    world.comes_to(&token, 503, "introspection_unavailable").await;
    let (_, written) = world.gateway.terminate();
    assert!(written.contains("it does not take our client's credentials (status 401)"), "{written}");
}
