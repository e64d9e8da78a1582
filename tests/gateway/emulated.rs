//! The providers that cannot be run here, as the demo's issuer emulates them: logins, refreshes and errors over sockets.
//!
//! What the gateway says to their tokens is the demo's own tour (`bearward demo --check`).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bearward::demo::provider::Rotation;
use bearward::demo::providers;
use http::Method;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::harness::browser::Browser;
use crate::harness::emulated::{CALLBACK, Emulated, VERIFIER, good, parameter, text};
use crate::harness::guarded::claims;

#[tokio::test]
async fn a_login_at_every_emulated_provider_brings_its_tokens() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let back = provider.authorize(&[]).await;
        assert_eq!(parameter(&back, "state").as_deref(), Some("the state"));
        let issuer = row.announces_issuer.then(|| provider.issuer.name().to_owned());
        assert_eq!(parameter(&back, "iss"), issuer, "{}", row.dialect);
        let tokens = good(&provider.redeem(&parameter(&back, "code").unwrap(), VERIFIER).await);

        assert_eq!(tokens["token_type"], "Bearer");
        assert_eq!(tokens["expires_in"], row.lifetimes.access, "{}", row.dialect);
        assert_eq!(tokens["scope"], row.scopes.join(" "));
        let (access, id) = (text(&tokens, "access_token"), claims(&text(&tokens, "id_token")));
        assert_eq!((&id["nonce"], &id["iss"]), (&json!("the nonce"), &json!(provider.issuer.name())));
        assert_eq!(id["exp"].as_u64().unwrap() - id["iat"].as_u64().unwrap(), row.lifetimes.id);
        if let Some(at_hash) = id.get("at_hash") {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, access.as_bytes());
            assert_eq!(at_hash, &json!(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])), "{}", row.dialect);
        }
        let access = claims(&access);
        assert_eq!(access["exp"].as_u64().unwrap() - access["iat"].as_u64().unwrap(), row.lifetimes.access);
        assert!(tokens["refresh_token"].is_string(), "{}", row.dialect);
    }
}

#[tokio::test]
async fn a_code_is_good_once_and_for_its_verifier_alone() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let code = provider.code(&[]).await;
        good(&provider.redeem(&code, VERIFIER).await);
        provider.says(&provider.redeem(&code, VERIFIER).await, &row.faults.code);
        let code = provider.code(&[]).await;
        provider.says(&provider.redeem(&code, "another verifier").await, &row.faults.code);
        let late = provider.code(&[]).await;
        provider.hands.advance(Duration::from_secs(60));
        provider.says(&provider.redeem(&late, VERIFIER).await, &row.faults.code);
    }
}

#[tokio::test]
async fn a_refresh_rotates_as_the_provider_does() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let old = text(&provider.log_in().await, "refresh_token");
        let answer = good(&provider.refresh(&old).await);
        let new = text(&answer, "refresh_token");
        assert_ne!(text(&answer, "access_token"), "");
        let nonce = claims(&text(&answer, "id_token")).get("nonce").cloned();
        assert_eq!(nonce, row.repeats_nonce.then(|| json!("the nonce")), "{}", row.dialect);
        assert_eq!(new == old, row.rotation == Rotation::Late, "{}", row.dialect);
        let again = provider.refresh(&old).await;
        match row.rotation {
            Rotation::Kept | Rotation::Late => drop(good(&again)),
            Rotation::Each | Rotation::Family => provider.says(&again, &row.faults.refresh),
        }
        let after = provider.refresh(&new).await;
        match row.rotation {
            Rotation::Kept | Rotation::Late | Rotation::Each => drop(good(&after)),
            // Somebody showed a spent one: the new one is no longer good either.
            Rotation::Family => provider.says(&after, &row.faults.refresh),
        }
    }
}

#[tokio::test]
async fn a_refresh_token_rotates_late_where_the_provider_waits() {
    let provider = Emulated::named("rfc9068").await;
    let old = text(&provider.log_in().await, "refresh_token");
    provider.hands.advance(Duration::from_secs(provider.row.lifetimes.refresh * 7 / 10));
    let new = text(&good(&provider.refresh(&old).await), "refresh_token");
    assert_ne!(new, old);
    provider.says(&provider.refresh(&old).await, &provider.row.faults.refresh);
    provider.says(&provider.refresh(&new).await, &provider.row.faults.refresh);
}

#[tokio::test]
async fn a_refresh_token_lives_as_long_as_the_provider_lets_it() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let (first, second) = (provider.log_in().await, provider.log_in().await);
        provider.hands.advance(Duration::from_secs(row.lifetimes.refresh - 1));
        good(&provider.refresh(&text(&first, "refresh_token")).await);
        provider.hands.advance(Duration::from_secs(1));
        provider.says(&provider.refresh(&text(&second, "refresh_token")).await, &row.faults.refresh);
    }
}

#[tokio::test]
async fn a_refresh_token_is_issued_where_the_provider_was_asked_for_one() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let code = provider.code(&[("scope", "openid")]).await;
        let tokens = good(&provider.redeem(&code, VERIFIER).await);
        assert_eq!(tokens.get("refresh_token").is_none(), row.refresh_needs.is_some(), "{}", row.dialect);
        assert_eq!(tokens["scope"], "openid");
    }
}

#[tokio::test]
async fn a_client_must_authenticate_as_the_provider_wants_it() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let token = text(&provider.log_in().await, "refresh_token");
        let grant = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        for by_header in [true, false] {
            let wrong = provider.post_with("token_endpoint", &grant, "wrong", by_header).await;
            provider.says(&wrong, &row.faults.client);
            let challenged = by_header && row.faults.client.challenge.is_some();
            assert_eq!(wrong.headers.contains_key("www-authenticate"), challenged, "{}", row.dialect);

            let method = if by_header { "client_secret_basic" } else { "client_secret_post" };
            let taken = row.client_authentication.iter().any(|taken| taken == method);
            let secret = provider.issuer.client_secret();
            let right = provider.post_with("token_endpoint", &[("grant_type", "x")], secret, by_header).await;
            provider.says(&right, if taken { &row.faults.grant_type } else { &row.faults.client });
        }
        // None of these spent it.
        good(&provider.refresh(&token).await);
    }
}

#[tokio::test]
async fn who_asks_wrongly_for_a_login_is_told_as_the_provider_does() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let foreign = provider.authorize(&[("redirect_uri", "https://evil.example/")]).await;
        provider.says(&foreign, &row.faults.redirect);
        provider.says(&provider.authorize(&[("client_id", "nobody")]).await, &row.faults.client);
        let error = async |changed: &[(&str, &str)]| parameter(&provider.authorize(changed).await, "error");
        assert_eq!(error(&[("response_type", "token")]).await.as_deref(), Some("unsupported_response_type"));
        assert_eq!(error(&[("code_challenge_method", "plain")]).await.as_deref(), Some("invalid_request"));
        let scope = error(&[("scope", "openid invented")]).await;
        assert_eq!(scope.as_ref(), row.faults.scope.as_ref().map(|fault| &fault.error), "{}", row.dialect);
        if let Some(parameter) = &row.audience_parameter {
            let wanted = error(&[(parameter.as_str(), "https://invented.example")]).await;
            assert_eq!(wanted.as_ref(), row.faults.audience.as_ref().map(|fault| &fault.error), "{}", row.dialect);
        }
    }
}

#[tokio::test]
async fn who_asks_for_no_audience_gets_an_opaque_token_where_the_provider_does_so() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let parameter = row.audience_parameter.as_deref().unwrap_or("audience");
        let tokens = good(&provider.redeem(&provider.code(&[(parameter, "")]).await, VERIFIER).await);
        let is_opaque = !text(&tokens, "access_token").contains('.');
        assert_eq!(is_opaque, row.audience_parameter.is_some(), "{}", row.dialect);
    }
}

#[tokio::test]
async fn tokens_can_be_asked_about_and_revoked_where_the_provider_does_so() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let tokens = provider.log_in().await;
        let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
        if row.endpoints.introspection.is_none() {
            assert!(provider.discovery.get("introspection_endpoint").is_none(), "{}", row.dialect);
        } else {
            let asked = async |token: &str| provider.post("introspection_endpoint", &[("token", token)]).await;
            let of_jwt = asked(&access).await;
            if row.introspects_jwt {
                assert_eq!(good(&of_jwt)["active"], true, "{}", row.dialect);
            } else {
                assert_eq!((of_jwt.status, of_jwt.body.contains("unsupported_token_type")), (400, true));
            }
            assert_eq!(good(&asked("invented").await), json!({ "active": false }));
            // A refresh token is active too: that alone must not admit anybody.
            assert_eq!(good(&asked(&refresh).await)["active"], true, "{}", row.dialect);
            let wrong = provider.post_with("introspection_endpoint", &[("token", "t")], "wrong", row.writes_basic());
            provider.says(&wrong.await, row.faults.introspection.as_ref().unwrap_or(&row.faults.client));
        }
        good(&provider.post("revocation_endpoint", &[("token", &refresh)]).await);
        provider.says(&provider.refresh(&refresh).await, &row.faults.refresh);
    }
}

#[tokio::test]
async fn the_end_of_a_session_leads_back_to_the_client_alone() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let mut url = provider.endpoint("end_session_endpoint");
        url.query_pairs_mut().append_pair("post_logout_redirect_uri", CALLBACK).append_pair("state", "bye");
        let answer = Browser::default().send(Method::GET, &url, &[], String::new()).await;
        assert_eq!(parameter(&answer, "state").as_deref(), Some("bye"));
        let mut url = provider.endpoint("end_session_endpoint");
        url.query_pairs_mut().append_pair("post_logout_redirect_uri", "https://evil.example/");
        let answer = Browser::default().send(Method::GET, &url, &[], String::new()).await;
        provider.says(&answer, &row.faults.redirect);
    }
}

#[tokio::test]
async fn refresh_calls_look_as_the_first_documents_print_them() {
    let seeds: Value = serde_json::from_str(include_str!("../data/seed-samples.json")).unwrap();
    for dialect in ["forgerock", "forgerock-express"] {
        let provider = Emulated::named(dialect).await;
        let seed = &seeds[dialect]["refresh"];
        let path = seed["path"].as_str().or(seed["url"].as_str()).unwrap();
        assert!(path.ends_with("/access_token") && provider.issuer.token_endpoint().ends_with("/access_token"));
        let token = text(&provider.log_in().await, "refresh_token");
        let printed = match seed.get("form") {
            Some(form) => {
                let fields =
                    form.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
                form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
            }
            None => seed["body"].as_str().unwrap().to_owned(),
        };
        let (client, secret) = (provider.issuer.client_id(), provider.issuer.client_secret());
        let filled = [("refreshToken", token.as_str()), ("client_id", client), ("client_secret", secret)].iter().fold(
            printed,
            |text, (name, value)| {
                let encoded: String = form_urlencoded::byte_serialize(format!("{{{name}}}").as_bytes()).collect();
                text.replace(&encoded, value).replace(&format!("{{{name}}}"), value)
            },
        );
        let basic = format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")));
        let headers: &[(&str, &str)] =
            if seed["headers"]["Authorization"].is_string() { &[("authorization", &basic)] } else { &[] };
        let answer = good(&Browser::default().post(&provider.endpoint("token_endpoint"), headers, filled).await);
        assert!(answer["access_token"].is_string() && answer["refresh_token"].is_string(), "{dialect}");
    }
}
