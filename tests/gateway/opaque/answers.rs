//! What an issuer answers about a token, and what comes of it.

use std::time::Duration;

use serde_json::json;

use super::{TOKEN, World, code};
use crate::harness::forms::Reply;
use crate::harness::world::merged;

#[tokio::test]
async fn an_active_token_passes_and_its_claims_are_told_to_the_upstream() {
    let world = World::start().await;
    world.knows_but(&json!({}));
    world.comes_to((200, ""), "good").await;
    assert_eq!(world.upstream.request(0).await.all("x-user"), ["alice"]);
    let asked = world.endpoint.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "POST /introspect HTTP/1.1");
    assert_eq!(asked[0].field("token"), Some(TOKEN));
    assert_eq!(asked[0].field("token_type_hint"), Some("access_token"));
    assert_eq!(asked[0].header("content-type"), Some("application/x-www-form-urlencoded"));
}

/// Each row changes one thing of a good answer.
#[tokio::test]
async fn an_answer_is_judged_by_more_than_active() {
    let untyped = "token_kind_unknown";
    for (case, changes, expected) in [
        ("inactive", json!({ "active": false }), (401, "token_inactive")),
        ("active missing", json!({ "active": null }), (401, "token_inactive")),
        ("active as text", json!({ "active": "true" }), (401, "token_inactive")),
        ("active as number", json!({ "active": 1 }), (401, "token_inactive")),
        ("another issuer", json!({ "iss": "https://evil.example.com" }), (401, "issuer_unknown")),
        ("issuer of a wrong type", json!({ "iss": ["a"] }), (401, "claims_malformed")),
        ("no issuer", json!({ "iss": null }), (200, "")),
        ("no type", json!({ "token_type": null }), (401, untyped)),
        ("type in another case", json!({ "token_type": "bEARER" }), (200, "")),
        ("type access_token", json!({ "token_type": "access_token" }), (200, "")),
        ("type refresh_token", json!({ "token_type": "refresh_token" }), (401, "refresh_token_presented")),
        ("type id_token", json!({ "token_type": "id_token" }), (401, "id_token_presented")),
        ("another type", json!({ "token_type": "mac" }), (401, untyped)),
        ("type of a wrong type", json!({ "token_type": 1 }), (401, untyped)),
        ("bound by its type", json!({ "token_type": "DPoP" }), (401, "proof_required")),
        ("bound by cnf", json!({ "cnf": { "jkt": "x" } }), (401, "proof_required")),
        ("use access", json!({ "token_use": "access_token" }), (200, "")),
        ("use refresh", json!({ "token_use": "refresh_token" }), (401, "refresh_token_presented")),
        ("another use", json!({ "token_use": "code" }), (401, untyped)),
        ("marked as refresh", json!({ "tokenName": "refresh_token" }), (401, "refresh_token_presented")),
        ("marked as ID", json!({ "typ": "ID" }), (401, "id_token_presented")),
        ("a hash of an ID token", json!({ "at_hash": "x" }), (401, "id_token_presented")),
        (
            "a logout token",
            json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
            (401, "logout_token_presented"),
        ),
        ("expired", json!({ "exp": 1000 }), (401, "token_expired")),
        ("exp of a wrong type", json!({ "exp": "soon" }), (401, "claims_malformed")),
        ("no exp", json!({ "exp": null }), (200, "")),
        ("not yet valid", json!({ "nbf": 99_999_999_999_u64 }), (401, "token_not_yet_valid")),
        ("another audience", json!({ "aud": "https://other.example.com" }), (401, "audience_wrong")),
        ("no audience", json!({ "aud": null }), (401, "audience_wrong")),
        ("audiences", json!({ "aud": ["x", "https://api.example.com"] }), (200, "")),
        ("no scope", json!({ "scope": null }), (403, "scope_insufficient")),
        ("another scope", json!({ "scope": "readx" }), (403, "scope_insufficient")),
        ("scope of a wrong type", json!({ "scope": 1 }), (401, "claims_malformed")),
    ] {
        let world = World::start().await;
        world.knows_but(&changes);
        // Asked, and then remembered: the same.
        world.comes_to(expected, case).await;
        world.comes_to(expected, case).await;
        if expected.0 != 200 {
            assert_eq!(world.upstream.count(), 0, "{case}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_type_is_taken_where_the_operator_says_so() {
    let world = World::configured("", "allow_untyped = true").await;
    world.knows_but(&json!({ "token_type": null }));
    world.comes_to((200, ""), "untyped").await;
    let world = World::configured("", "allow_untyped = true").await;
    world.knows_but(&json!({ "token_type": null, "token_use": "refresh_token" }));
    world.comes_to((401, "refresh_token_presented"), "untyped and marked").await;
}

/// Okta answers `active` for ID and refresh tokens too, with `Bearer` as their type.
#[tokio::test]
async fn what_a_dialect_asks_of_answers_holds() {
    for (case, changes, expected) in [
        ("access", json!({ "jti": "AT.1" }), (200, "")),
        ("ID", json!({ "jti": "ID.1" }), (401, "token_kind_unknown")),
        ("refresh", json!({ "jti": null, "aud": null }), (401, "token_kind_unknown")),
    ] {
        let world = World::configured("dialect = \"okta\"", "").await;
        world.knows_but(&changes);
        world.comes_to(expected, case).await;
    }
}

/// No token of that provider is meant for our APIs, whatever is answered about it.
#[tokio::test]
async fn a_dialect_that_takes_no_token_takes_no_answer() {
    for lines in ["", "allow_untyped = true"] {
        let world = World::configured("dialect = \"google\"", lines).await;
        for (changes, expected) in [
            (json!({}), "token_kind_unknown"),
            (json!({ "token_type": "access_token", "token_use": "access_token" }), "token_kind_unknown"),
            (json!({ "token_use": "refresh_token" }), "refresh_token_presented"),
        ] {
            world.endpoint.know("x", Reply::json(&merged(world.claims(), &changes)));
            let answer = world.get("x").await;
            assert_eq!((answer.status, answer.code().as_str()), (401, expected), "{changes}");
            // What was answered is remembered.
            world.hands.advance(Duration::from_secs(31));
        }
        assert_eq!(world.upstream.count(), 0);
    }
}

/// Introspection may leave out what marks a JWT, but what the operator said that no access token has is believed of it.
#[tokio::test]
async fn what_a_discriminator_denies_is_refused_in_answers_too() {
    let own = r#"discriminator = { claim = "use", access = ["api"], deny = ["web"], forbid = ["nonce"] }"#;
    for (case, changes, expected) in [
        ("unmarked", json!({}), (200, "")),
        ("marked", json!({ "use": "api" }), (200, "")),
        ("denied", json!({ "use": "web" }), (401, "token_kind_unknown")),
        ("forbidden", json!({ "nonce": "n" }), (401, "token_kind_unknown")),
    ] {
        let world = World::configured(own, "").await;
        world.knows_but(&changes);
        world.comes_to(expected, case).await;
    }
}

#[tokio::test]
async fn one_answer_is_judged_again_by_each_route() {
    let world = World::start().await;
    world.knows_but(&json!({}));
    world.comes_to((200, ""), "read").await;
    let answer = world.get_at("/write", TOKEN).await;
    assert_eq!((answer.status, code(&answer).as_str()), (403, "scope_insufficient"));
    assert_eq!(world.get_at("/client", TOKEN).await.status, 200);
    assert_eq!(world.endpoint.asked().len(), 1);
}

/// What has the form of a JWT is never looked up, whatever is wrong with it; what has not is opaque.
#[tokio::test]
async fn a_token_is_opaque_by_its_form_alone() {
    let world = World::start().await;
    let claims =
        json!({ "iss": world.issuer.url(), "aud": "https://api.example.com", "exp": world.now + 60, "scope": "read" });
    let jwt = world.key.sign(&json!({ "alg": "RS256", "kid": "key-1", "typ": "at+jwt" }), &claims);
    assert_eq!(world.get(&jwt).await.status, 200);
    let id_token = world.key.sign(&json!({ "alg": "RS256", "kid": "key-1" }), &claims);
    for (token, expected) in [
        (id_token.as_str(), "token_kind_unknown"),
        ("a.b.c", "token_malformed"),
        ("..", "token_malformed"),
        ("a.b.c.d.e", "token_malformed"),
    ] {
        assert_eq!(code(&world.get(token).await), expected, "{token}");
    }
    assert_eq!(world.endpoint.asked().len(), 0);
    for token in ["ory_at_x.y", "a.b.c.d", "a.b.c.d.e.f", "a"] {
        assert_eq!(code(&world.get(token).await), "token_inactive", "{token}");
    }
    assert_eq!(world.endpoint.asked().len(), 4);
}

#[tokio::test]
async fn a_signed_answer_is_taken_where_the_issuer_signed_it_for_us() {
    let header = json!({ "alg": "RS256", "kid": "key-1", "typ": "token-introspection+jwt" });
    for (case, typ, changes, expected) in [
        ("good", "token-introspection+jwt", json!({}), (200, "")),
        ("another type", "JWT", json!({}), (503, "introspection_unavailable")),
        (
            "for another client",
            "token-introspection+jwt",
            json!({ "aud": "other" }),
            (503, "introspection_unavailable"),
        ),
        (
            "of another issuer",
            "token-introspection+jwt",
            json!({ "iss": "https://e.example" }),
            (503, "introspection_unavailable"),
        ),
        (
            "without an answer",
            "token-introspection+jwt",
            json!({ "token_introspection": null }),
            (503, "introspection_unavailable"),
        ),
        (
            "inactive",
            "token-introspection+jwt",
            json!({ "token_introspection": { "active": false } }),
            (401, "token_inactive"),
        ),
    ] {
        let world = World::start().await;
        let claims = json!({ "iss": world.issuer.url(), "aud": "gateway", "iat": world.now, "token_introspection": world.claims() });
        let header = merged(header.clone(), &json!({ "typ": typ }));
        let jwt = world.key.sign(&header, &merged(claims, &changes));
        world.endpoint.know(TOKEN, Reply::body("application/token-introspection+jwt", jwt));
        world.comes_to(expected, case).await;
    }
    let world = World::start().await;
    let claims =
        json!({ "iss": world.issuer.url(), "aud": "gateway", "iat": world.now, "token_introspection": world.claims() });
    let mut jwt = world.key.sign(&header, &claims);
    jwt.replace_range(jwt.len() - 8.., "AAAAAAAA");
    world.endpoint.know(TOKEN, Reply::body("application/token-introspection+jwt", jwt));
    world.comes_to((503, "introspection_unavailable"), "forged").await;
}

/// A signed answer that was recorded counts no longer than a server may show it again; it says when it was made.
#[tokio::test]
async fn a_signed_answer_is_of_now() {
    const LEEWAY: i64 = 30;
    let unavailable = (503, "introspection_unavailable");
    for (made, expected) in [
        (Some(0), (200, "")),
        (Some(LEEWAY), (200, "")),
        (Some(LEEWAY + 1), unavailable),
        (Some(3600), unavailable),
        (Some(-59 - LEEWAY), (200, "")),
        (Some(-60 - LEEWAY), unavailable),
        (Some(-36_000), unavailable),
        (None, unavailable),
    ] {
        let world = World::start().await;
        let iat = made.map(|made| world.now.checked_add_signed(made).unwrap());
        let claims = json!({ "iss": world.issuer.url(), "aud": "gateway", "token_introspection": world.claims() });
        let header = json!({ "alg": "RS256", "kid": "key-1", "typ": "token-introspection+jwt" });
        let jwt = world.key.sign(&header, &merged(claims, &json!({ "iat": iat })));
        world.endpoint.know(TOKEN, Reply::body("application/token-introspection+jwt", jwt));
        world.comes_to(expected, &format!("{made:?}")).await;
    }
}
