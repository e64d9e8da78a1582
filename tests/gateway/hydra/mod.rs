//! Tokens that an Ory Hydra really issued, opaque ones and JWTs, and what it does to keys and connections meanwhile.
//!
//! `tests/run --long` builds Hydra as a Go module and runs these.

mod server;

use std::time::{Duration, SystemTime};

use bearward::config::{Authentication, Secret};
use bearward::remote::clock::Clock;
use serde_json::{Value, json};

use self::server::{API, Client, Hydra, SECRET, text};
use crate::harness::guarded::{A_WHILE, Guarded, claims};
use crate::harness::replica::{Kept, source};

const POLICY: &str = r#"{ audience = ["https://api.example.com"], scopes = ["orders.read"] }"#;

fn issuer(hydra: &Hydra) -> String {
    format!(
        "[issuers.main]\nissuer = \"{}\"\ndialect = \"hydra\"\n\n[issuers.main.introspection]\nendpoint = \"{}\"\n\
         client_id = \"gateway\"\nauth_method = \"none\"\ncache = \"0s\"\nnegative_cache = \"0s\"\n",
        hydra.issuer(),
        hydra.introspection()
    )
}

#[tokio::test]
#[ignore = "needs Ory Hydra, which `tests/run --long` builds"]
async fn access_tokens_of_a_real_hydra_pass_and_whatever_else_it_issues_is_refused() {
    let Some(hydra) = Hydra::start().await else { return };
    let world = Guarded::start(&issuer(&hydra), POLICY).await;
    let machine = hydra.machine_token(Client::Jwt, API, "orders.read").await;
    world.passes(&machine, claims(&machine)["sub"].as_str().unwrap()).await;
    let login = hydra.log_in(Client::Jwt, "openid offline orders.read").await;
    world.passes(&text(&login, "access_token"), "jo").await;
    let refreshed = hydra.refresh(Client::Jwt, &text(&login, "refresh_token")).await;
    world.passes(&text(&refreshed, "access_token"), "jo").await;

    world.refused(&text(&login, "id_token"), 401, "id_token_presented").await;
    // It is opaque, and Hydra says of it that it is active.
    let refresh = text(&refreshed, "refresh_token");
    let told = hydra.introspect(&refresh).await;
    assert_eq!((&told["active"], &told["token_use"]), (&json!(true), &json!("refresh_token")));
    world.refused(&refresh, 401, "refresh_token_presented").await;
    world.refused(&hydra.machine_token(Client::Jwt, API, "orders.write").await, 403, "scope_insufficient").await;
    // Scopes are part of how a JWT of Hydra shows that it is an access token.
    world.refused(&hydra.machine_token(Client::Jwt, API, "").await, 401, "token_kind_unknown").await;
    world
        .refused(
            &hydra.machine_token(Client::Jwt, "https://another.example", "orders.read").await,
            401,
            "audience_wrong",
        )
        .await;
    let unaimed = hydra.machine_token(Client::Jwt, "", "orders.read").await;
    assert_eq!(claims(&unaimed)["aud"], json!([]));
    world.refused(&unaimed, 401, "audience_wrong").await;
}

#[tokio::test]
#[ignore = "needs Ory Hydra, which `tests/run --long` builds"]
async fn opaque_tokens_of_a_real_hydra_are_asked_about() {
    let Some(hydra) = Hydra::start().await else { return };
    let world = Guarded::start(&issuer(&hydra), POLICY).await;
    let login = hydra.log_in(Client::Opaque, "openid offline orders.read").await;
    let token = text(&login, "access_token");
    assert_eq!(token.split('.').count(), 2, "one dot: no JWT");
    world.passes(&token, "jo").await;
    world.refused(&text(&login, "id_token"), 401, "id_token_presented").await;
    world.refused(&text(&login, "refresh_token"), 401, "refresh_token_presented").await;
    let foreign = hydra.machine_token(Client::Opaque, "https://another.example", "orders.read").await;
    world.refused(&foreign, 401, "audience_wrong").await;
    world.refused(&hydra.machine_token(Client::Opaque, API, "").await, 403, "scope_insufficient").await;
    hydra.revoke(Client::Opaque, &token).await;
    world.refused(&token, 401, "token_inactive").await;
    world.refused("ory_at_invented.invented", 401, "token_inactive").await;
}

#[tokio::test]
#[ignore = "needs Ory Hydra, which `tests/run --long` builds"]
async fn a_session_at_a_real_hydra_is_kept_fresh_until_a_refresh_token_is_shown_twice() {
    let Some(hydra) = Hydra::start().await else { return };
    let (clock, hands) = Clock::manual(SystemTime::now());
    let secret = Authentication::Post(Secret::new(SECRET.as_bytes().to_vec()));
    let [token, revocation] = ["oauth2/token", "oauth2/revoke"].map(|path| hydra.issuer() + path);
    let login = hydra.log_in(Client::Opaque, "openid offline orders.read").await;
    let source = source(&token, &revocation, Client::Opaque.id(), secret);
    let Kept { replica, cookie } = Kept::fresh(source, &clock, &hands, &login, 3).await;
    // Somebody else has the first one and shows it: Hydra ends all that came of that login.
    let shown = hydra.refused_refresh(Client::Opaque, &text(&login, "refresh_token")).await;
    assert_eq!(shown["error"], "invalid_grant");
    hands.advance(Duration::from_secs(3600));
    assert_eq!(replica.access(&cookie).await, Err("session_expired".to_owned()));
}

#[tokio::test]
#[ignore = "needs Ory Hydra, which `tests/run --long` builds"]
async fn a_real_hydra_rotates_its_keys_stops_and_starts_without_a_refused_good_token() {
    let Some(mut hydra) = Hydra::start().await else { return };
    let world = Guarded::start(&issuer(&hydra), POLICY).await;
    let issue = async || hydra.machine_token(Client::Jwt, API, "orders.read").await;
    world.bears_rotations(issue, async || hydra.rotate_keys().await).await;

    let jwt = issue().await;
    let opaque = hydra.machine_token(Client::Opaque, API, "orders.read").await;
    assert_eq!(world.send(&opaque).await.status, 200);
    hydra.stop();
    assert_eq!(world.send(&jwt).await.status, 200, "its keys are known");
    world.refused(&opaque, 503, "introspection_unavailable").await;
    let late = Guarded::start(&issuer(&hydra), POLICY).await;
    late.refused(&jwt, 503, "keys_unavailable").await;
    hydra.start_again().await;
    for world in [&world, &late] {
        world.hands.advance(A_WHILE);
        let fresh: Value = claims(&hydra.machine_token(Client::Jwt, API, "orders.read").await);
        assert_eq!(fresh["iss"], hydra.issuer());
        assert_eq!(world.send(&jwt).await.status, 200, "its keys can be had");
        assert_eq!(world.send(&opaque).await.status, 200, "it can be asked");
    }
}
