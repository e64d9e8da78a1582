//! A session at a certified provider whose opaque access token the provider revokes before its time.

use std::time::SystemTime;

use bearward::policy::grant::Granted;
use bearward::policy::session::Login;
use bearward::policy::site::SiteId;
use serde_json::Map;

use super::provider::{Provider, text};
use crate::harness::client::{Answer, Client};
use crate::harness::gateway::Served;
use crate::harness::secret::SecretFile;
use crate::harness::upstream::Upstream;

const API: &str = "https://opaque.api.example";

/// The gateway of a browser's session there; it remembers nothing of what the provider says.
fn gateway(provider: &Provider, upstream: &Upstream, secret: &SecretFile) -> Served {
    Served::start(&format!(
        r#"
        [issuers.main]
        issuer = "{}"
        dialect = "oidc-provider"
        [issuers.main.introspection]
        client_id = "gateway"
        client_secret = {}
        timeout = "60s"
        cache = "0s"
        negative_cache = "0s"
        [sessions.web]
        issuer = "main"
        origin = "https://app.example.com"
        client_id = "web"
        auth_method = "none"
        timeout = "60s"
        scopes = ["openid", "offline_access", "read:orders"]
        [[routes]]
        path = "/*"
        policy = {{ audience = ["{API}"], scopes = ["read:orders"] }}
        upstream = "{}"
        session = "web"
        "#,
        provider.issuer,
        secret.toml(),
        upstream.url()
    ))
}

async fn asks(gateway: &Served, cookie: &str) -> Answer {
    let request = format!("GET / HTTP/1.1\r\nhost: app.example.com\r\ncookie: __Host-session={cookie}\r\n\r\n");
    Client::connect(gateway.address()).await.ask(request).await
}

/// With an access token this provider revokes the refresh token, too: that another access token is asked for shows it.
#[tokio::test]
async fn a_session_is_over_once_a_real_provider_revokes_its_opaque_token() {
    let Some(provider) = Provider::start() else { return };
    let (upstream, secret) = (Upstream::start().await, SecretFile::new("the: secret of %gateway"));
    let gateway = gateway(&provider, &upstream, &secret);
    let answer = provider.log_in(Some(API), "openid offline_access read:orders").await;
    let now = SystemTime::now();
    let granted = Granted::parse(answer.to_string().as_bytes(), now).unwrap();
    let login = Login { issuer: provider.issuer.clone(), subject: "ada".to_owned(), sid: None, claims: Map::new() };
    let in_force = gateway.in_force();
    let cookie = in_force.sessions(SiteId(0)).unwrap().create(login, granted, now.into()).await.unwrap();

    let token = text(&answer, "access_token");
    assert_eq!(asks(&gateway, &cookie).await.status, 200);
    assert_eq!(upstream.requests()[0].all("authorization"), [format!("Bearer {token}")]);
    provider.revoke_of_web(&token).await;
    for _ in 0..3 {
        assert_eq!(asks(&gateway, &cookie).await.code(), "session_expired");
    }
    let counted = |series: &str| gateway.sample(series).unwrap_or_default();
    assert_eq!(counted("bearward_sessions_total{event=\"token_refused\",session=\"web\"}"), 1.0);
    assert_eq!(counted("bearward_session_refreshes_total{result=\"invalid_grant\",session=\"web\"}"), 1.0);
}
