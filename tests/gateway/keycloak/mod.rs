//! Tokens that a Keycloak really issued, and what it does to keys and connections meanwhile.
//!
//! `tests/run --long` installs Keycloak from its archive and runs these.

pub mod server;

use std::time::{Duration, SystemTime};

use bearward::config::{Authentication, Secret};
use bearward::demo::provider::{Fault, Provider};
use bearward::remote::clock::Clock;
use serde_json::{Value, json};

use self::server::{CLIENT, Keycloak, SECRET, text};
use crate::harness::browser::Answer;
use crate::harness::guarded::{A_WHILE, Guarded, claims};
use crate::harness::replica::{Kept, source};
use crate::harness::secret::SecretFile;

const POLICY: &str = r#"{ audience = ["orders-api"], scopes = ["orders"] }"#;

fn issuer(keycloak: &Keycloak, further: &str) -> String {
    format!("[issuers.main]\nissuer = \"{}\"\ndialect = \"keycloak\"\n{further}\n", keycloak.issuer())
}

fn introspection(secret: &SecretFile) -> String {
    format!(
        "[issuers.main.introspection]\nclient_id = \"{CLIENT}\"\nclient_secret = {}\ncache = \"0s\"\n",
        secret.toml()
    )
}

#[tokio::test]
#[ignore = "needs Keycloak, which `tests/run --long` installs; starts it, which takes a minute"]
async fn access_tokens_of_a_real_keycloak_pass_and_whatever_else_it_issues_is_refused() {
    let Some(keycloak) = Keycloak::start().await else { return };
    let secret = SecretFile::new(SECRET);
    let world = Guarded::start(&issuer(&keycloak, &introspection(&secret)), POLICY).await;

    let login = keycloak.log_in("openid orders").await;
    let user = claims(&text(&login, "access_token"))["sub"].as_str().unwrap().to_owned();
    world.passes(&text(&login, "access_token"), &user).await;
    let machine = keycloak.machine_token("orders").await;
    world.passes(&machine, claims(&machine)["sub"].as_str().unwrap()).await;
    let refreshed = good(&keycloak.refresh(&text(&login, "refresh_token")).await);
    world.passes(&text(&refreshed, "access_token"), &user).await;

    // The mapper puts the API into the audience of ID tokens too, as it does where both boxes are ticked.
    assert!(claims(&text(&login, "id_token"))["aud"].as_array().unwrap().contains(&json!("orders-api")));
    world.refused(&text(&login, "id_token"), 401, "id_token_presented").await;
    world.refused(&text(&login, "refresh_token"), 401, "refresh_token_presented").await;
    let offline = keycloak.log_in("openid orders offline_access").await;
    assert_eq!(claims(&text(&offline, "refresh_token"))["typ"], "Offline");
    world.refused(&text(&offline, "refresh_token"), 401, "refresh_token_presented").await;
    world.refused(&keycloak.machine_token("").await, 403, "scope_insufficient").await;
    world.refused(&keycloak.unaimed_token().await, 401, "audience_wrong").await;
    // Nothing of Keycloak's is opaque: what is was not issued by it.
    world.refused("invented", 401, "token_inactive").await;
}

#[tokio::test]
#[ignore = "needs Keycloak, which `tests/run --long` installs; starts it, which takes a minute"]
async fn a_session_at_a_real_keycloak_is_kept_fresh_until_it_is_revoked_there() {
    let Some(keycloak) = Keycloak::start().await else { return };
    let (clock, hands) = Clock::manual(SystemTime::now());
    let secret = Authentication::Basic(Secret::new(SECRET.as_bytes().to_vec()));
    let source = source(&keycloak.endpoint("token"), &keycloak.endpoint("revoke"), CLIENT, secret);
    let login = keycloak.log_in("openid orders").await;
    let Kept { replica, cookie } = Kept::fresh(source, &clock, &hands, &login, 1).await;
    assert_eq!(keycloak.post("revoke", &[("token", &text(&login, "refresh_token"))], SECRET).await.status, 200);
    hands.advance(Duration::from_secs(300));
    assert_eq!(replica.access(&cookie).await, Err("session_expired".to_owned()));
}

#[tokio::test]
#[ignore = "needs Keycloak, which `tests/run --long` installs; starts it, which takes a minute"]
async fn a_real_keycloak_behaves_as_its_emulation() {
    let Some(keycloak) = Keycloak::start().await else { return };
    let row: &Provider = bearward::demo::providers().unwrap().iter().find(|row| row.dialect == "keycloak").unwrap();
    let login = keycloak.log_in("openid orders").await;
    let (access, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));

    // Lifetimes, and the members that tell a token's kind.
    assert_eq!(login["expires_in"], row.lifetimes.access);
    assert_eq!(login["refresh_expires_in"], row.lifetimes.refresh);
    let id = claims(&text(&login, "id_token"));
    assert_eq!(id["exp"].as_u64().unwrap() - id["iat"].as_u64().unwrap(), row.lifetimes.id);
    assert_eq!(id["nonce"], "the nonce");
    let kinds = [&access, &text(&login, "id_token"), &refresh].map(|token| claims(token)["typ"].clone());
    assert_eq!(kinds, [json!("Bearer"), json!("ID"), json!("Refresh")]);

    // Rotation: the old one stays good; the nonce is not repeated.
    let renewed = good(&keycloak.refresh(&refresh).await);
    assert_ne!(text(&renewed, "refresh_token"), refresh);
    assert!(claims(&text(&renewed, "id_token")).get("nonce").is_none());
    good(&keycloak.refresh(&refresh).await);

    // Errors, in its own words.
    says(&keycloak.refresh("invented").await, &row.faults.refresh);
    let grant = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    says(&keycloak.post("token", &grant, "wrong").await, &row.faults.client);
    says(&keycloak.post("token", &[("grant_type", "x")], SECRET).await, &row.faults.grant_type);
    let unknown = [("token", "invented")];
    says(&keycloak.post("token/introspect", &unknown, "wrong").await, row.faults.introspection.as_ref().unwrap());

    // Introspection: everything is active, only a mark tells what it is.
    for (token, mark) in [(&access, "Bearer"), (&text(&login, "id_token"), "ID"), (&refresh, "Refresh")] {
        let told = good(&keycloak.post("token/introspect", &[("token", token)], SECRET).await);
        assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!(mark)));
    }
    assert_eq!(good(&keycloak.post("token/introspect", &unknown, SECRET).await), json!({ "active": false }));
    assert_eq!(keycloak.post("revoke", &[("token", &refresh)], SECRET).await.status, 200);
    assert_eq!(keycloak.refresh(&refresh).await.status, 400);
    assert_eq!(keycloak.discovery().await["authorization_response_iss_parameter_supported"], row.announces_issuer);
}

#[tokio::test]
#[ignore = "needs Keycloak, which `tests/run --long` installs; starts it, which takes a minute"]
async fn a_real_keycloak_rotates_its_keys_stops_and_starts_without_a_refused_good_token() {
    let Some(mut keycloak) = Keycloak::start().await else { return };
    let world = Guarded::start(&issuer(&keycloak, ""), POLICY).await;
    world.bears_rotations(async || keycloak.machine_token("orders").await, async || keycloak.rotate_keys().await).await;

    let token = keycloak.machine_token("orders").await;
    keycloak.stop();
    assert_eq!(world.send(&token).await.status, 200, "its keys are known");
    let late = Guarded::start(&issuer(&keycloak, ""), POLICY).await;
    late.refused(&token, 503, "keys_unavailable").await;
    keycloak.start_again().await;
    late.hands.advance(A_WHILE);
    assert_eq!(late.send(&token).await.status, 200, "its keys can be had");
    let fresh = keycloak.machine_token("orders").await;
    assert_eq!(world.send(&fresh).await.status, 200);
    world.refused(&text(&keycloak.log_in("openid orders").await, "id_token"), 401, "id_token_presented").await;
}

#[tokio::test]
#[ignore = "needs Keycloak, which `tests/run --long` installs; starts it, which takes a minute"]
async fn a_real_keycloak_that_does_not_know_our_client_is_our_fault() {
    let Some(keycloak) = Keycloak::start().await else { return };
    let secret = SecretFile::new("wrong");
    let world = Guarded::start(&issuer(&keycloak, &introspection(&secret)), POLICY).await;
    world.refused("invented", 503, "introspection_unavailable").await;
    assert_eq!(world.send(&keycloak.machine_token("orders").await).await.status, 200);
}

fn good(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

fn says(answer: &Answer, fault: &Fault) {
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    let expected = json!({ "error": fault.error, "error_description": fault.error_description });
    assert_eq!((answer.status, told), (fault.status, expected));
}
