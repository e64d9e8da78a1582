//! A certified provider that exchanges its keys while it is asked, stops, and starts again.

use tempfile::TempDir;

use super::API;
use super::provider::Provider;
use crate::harness::guarded::{A_WHILE, Guarded};
use crate::harness::port::Port;
use crate::harness::secret::SecretFile;

const OPAQUE_API: &str = "https://opaque.api.example";
const POLICY: &str =
    r#"{ audience = ["https://es256.api.example", "https://opaque.api.example"], scopes = ["read:orders"] }"#;

fn issuer(provider: &Provider, secret: &SecretFile) -> String {
    format!(
        "[issuers.main]\nissuer = \"{}\"\ndialect = \"oidc-provider\"\n\n[issuers.main.introspection]\n\
         client_id = \"gateway\"\nclient_secret = {}\ncache = \"0s\"\n",
        provider.issuer,
        secret.toml()
    )
}

#[tokio::test]
async fn a_real_provider_rotates_its_keys_stops_and_starts_without_a_refused_good_token() {
    let (port, directory) = (Port::reserve(), TempDir::new().unwrap());
    let keys = directory.path().join("keys");
    let start = || Provider::start_at(port.address(), Some(&keys));
    let Some(provider) = start() else { return };
    let secret = SecretFile::new("the: secret of %gateway");
    let section = issuer(&provider, &secret);
    let world = Guarded::start(&section, POLICY).await;
    let issue = async |api| provider.machine_token(api, "read:orders").await;
    world.bears_rotations(async || issue(API).await, async || provider.rotate_keys()).await;

    let (jwt, opaque) = (issue(API).await, issue(OPAQUE_API).await);
    assert_eq!(world.send(&opaque).await.status, 200);
    drop(provider);
    assert_eq!(world.send(&jwt).await.status, 200, "its keys are known");
    world.refused(&opaque, 503, "introspection_unavailable").await;
    let late = Guarded::start(&section, POLICY).await;
    late.refused(&jwt, 503, "keys_unavailable").await;

    let provider = start().unwrap();
    for world in [&world, &late] {
        world.hands.advance(A_WHILE);
        assert_eq!(world.send(&jwt).await.status, 200, "its keys can be had");
        let fresh = provider.machine_token(OPAQUE_API, "read:orders").await;
        assert_eq!(world.send(&fresh).await.status, 200, "it can be asked");
        // What was in its memory is gone.
        world.refused(&opaque, 401, "token_inactive").await;
    }
}
