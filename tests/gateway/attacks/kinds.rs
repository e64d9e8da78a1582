//! D. The kind of token, and proof of possession: what is no access token is refused even when everything else fits.

use serde_json::{Value, json};

use super::{Siege, claiming, with};
use crate::harness::mint::{Key, base64};
use crate::harness::world::{World, merged};

/// Marks of ID tokens, by claim: they refuse whatever else says access.
fn id_marks() -> Vec<Value> {
    vec![
        json!({ "at_hash": "x" }),
        json!({ "c_hash": "x" }),
        json!({ "s_hash": "x" }),
        json!({ "at_hash": null }),
        json!({ "tokenName": "id_token" }),
        json!({ "token_use": "id" }),
        json!({ "typ": "ID" }),
        json!({ "tokenType": "JWTIDToken" }),
        json!({ "token_type": "id_token" }),
        json!({ "tok_type": "IT" }),
        json!({ "type": "identity" }),
        json!({ "purpose": "id" }),
    ]
}

fn refresh_marks() -> Vec<Value> {
    vec![
        json!({ "tokenName": "refresh_token" }),
        json!({ "token_use": "refresh" }),
        json!({ "typ": "Refresh" }),
        json!({ "typ": "Offline" }),
        json!({ "token_type": "oauth2_refresh_token" }),
        json!({ "tok_type": "RT" }),
        json!({ "purpose": "refresh_token" }),
    ]
}

/// Like [`merged`], but a null is a value.
fn also(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

/// 39
#[tokio::test]
async fn an_id_token_is_refused_even_when_everything_else_fits() {
    let mut siege = Siege::usual().await;
    for marks in id_marks() {
        let about = marks.to_string();
        let token = siege.world.token_of(&siege.world.header(), &also(siege.world.claims(), &marks));
        siege.refuse(&token, "id_token_presented", &format!("at+jwt with {about}")).await;
        // It is called one even when it is expired, not ours to verify, or signed with something else.
        let expired = also(also(siege.world.claims(), &marks), &json!({ "exp": 1 }));
        siege.refuse(&siege.world.token_of(&siege.world.header(), &expired), "id_token_presented", "expired").await;
        let header = merged(siege.world.header(), &json!({ "alg": "none", "kid": "unknown", "typ": "JWT" }));
        siege.refuse(&siege.world.token_of(&header, &expired), "id_token_presented", "alg none").await;
    }
    // Without a positive mark: no scopes, and a claim that tells of a login.
    for login in ["nonce", "name", "email", "picture", "phone_number", "preferred_username"] {
        let changes = with(json!({ "scope": null, "client_id": null }), login, json!("x"));
        let claims = merged(siege.world.claims(), &changes);
        for typ in [json!("JWT"), json!(null)] {
            let header = merged(siege.world.header(), &json!({ "typ": typ }));
            siege.refuse(&siege.world.token_of(&header, &claims), "id_token_presented", login).await;
        }
        // A positive mark and the same claim: access tokens may have it (RFC 9068 section 2.2.1).
        siege.permit(&claiming(&siege, login, &json!("x")), login).await;
    }
    for marks in refresh_marks() {
        let token = siege.world.token_of(&siege.world.header(), &also(siege.world.claims(), &marks));
        siege.refuse(&token, "refresh_token_presented", &marks.to_string()).await;
    }
    for claims in [json!({}), json!({ "scope": null }), json!({ "token_type": "Bearer" }), json!({ "nonce": "x" })] {
        let claims = merged(siege.world.claims(), &claims);
        let header = merged(siege.world.header(), &json!({ "typ": "JWT" }));
        siege.refuse(&siege.world.token_of(&header, &claims), "token_kind_unknown", "no mark at all").await;
    }
    siege.end().await;
}

/// 39: the pairs of tokens that providers hand out together, each by its dialect.
#[tokio::test]
async fn every_dialect_tells_its_access_token_from_its_others() {
    for (dialect, access, others) in [
        (
            "forgerock",
            json!({ "tokenName": "access_token", "nonce": "n" }),
            vec![
                (json!({ "tokenName": "id_token", "nonce": "n" }), "id_token_presented"),
                (json!({ "tokenName": "refresh_token", "token_type": "Bearer" }), "refresh_token_presented"),
                (json!({ "tokenName": "logout_token" }), "logout_token_presented"),
                (json!({ "tokenName": "Access_Token" }), "token_kind_unknown"),
                (json!({ "tokenName": ["access_token"] }), "token_kind_unknown"),
                (json!({ "nonce": "n" }), "token_kind_unknown"),
            ],
        ),
        (
            "genauth",
            json!({}),
            vec![
                (json!({ "at_hash": "x" }), "id_token_presented"),
                (json!({ "nonce": "x" }), "token_kind_unknown"),
                (json!({ "email": "x", "scope": null }), "id_token_presented"),
                (json!({ "jti": null }), "token_kind_unknown"),
            ],
        ),
        (
            "keycloak",
            json!({ "typ": "Bearer", "azp": "web", "email": "x" }),
            vec![
                (json!({ "typ": "ID", "azp": "web" }), "id_token_presented"),
                (json!({ "typ": "Refresh" }), "refresh_token_presented"),
                (json!({ "typ": "Offline" }), "refresh_token_presented"),
                (json!({ "typ": "Logout" }), "logout_token_presented"),
                (json!({ "typ": "bearer" }), "token_kind_unknown"),
            ],
        ),
        (
            "hydra",
            json!({}),
            vec![
                (json!({ "rat": 1 }), "token_kind_unknown"),
                (json!({ "auth_time": 1, "nonce": "x" }), "token_kind_unknown"),
                (json!({ "client_id": null }), "token_kind_unknown"),
            ],
        ),
        (
            "evidence",
            json!({}),
            vec![
                (json!({ "nonce": "x" }), "token_kind_unknown"),
                (json!({ "client_id": null }), "token_kind_unknown"),
                (json!({ "scope": null, "email": "x" }), "id_token_presented"),
                (json!({ "scope": null, "aud": "web" }), "id_token_presented"),
                (json!({ "aud": "web" }), "audience_wrong"),
            ],
        ),
    ] {
        let world = World::configured(&format!("dialect = \"{dialect}\"\nknown_clients = [\"web\"]"), "").await;
        let mut siege = Siege::begin(world).await;
        let untyped = merged(siege.world.header(), &json!({ "typ": null }));
        let token =
            |siege: &Siege, changes: &Value| siege.world.token_of(&untyped, &merged(siege.world.claims(), changes));
        siege.permit(&token(&siege, &access), &format!("{dialect}: {access}")).await;
        for (changes, code) in others {
            siege.refuse(&token(&siege, &changes), code, &format!("{dialect}: {changes}")).await;
        }
        siege.end().await;
    }
}

/// 40
#[tokio::test]
async fn what_is_made_for_another_endpoint_is_refused() {
    let logout = "http://schemas.openid.net/event/backchannel-logout";
    let mut siege = Siege::usual().await;
    let typed = |typ: &str| merged(siege.world.header(), &json!({ "typ": typ }));
    let claims = siege.world.claims();
    let event = |name: &str| also(claims.clone(), &json!({ "events": { name: {} }, "sid": "1" }));
    let jwk = Key::p256("proof").jwk();
    let proof = json!({ "jti": "1", "htm": "GET", "htu": "http://gateway/orders", "iat": siege.world.now() });
    let assertion = json!({ "sub": "web", "aud": siege.world.issuer.url(), "scope": null });
    let request = json!({ "response_type": "code", "redirect_uri": "https://app.example.com", "client_id": "web" });
    let (logout_event, other_event) = (event(logout), event("https://schemas.openid.net/secevent/risc/event-type/x"));
    let proven = with(typed("dpop+jwt"), "jwk", jwk);
    let attacks = [
        ("a logout token", typed("logout+jwt"), logout_event.clone(), "logout_token_presented"),
        ("a logout token, untyped", typed("JWT"), logout_event.clone(), "logout_token_presented"),
        ("a logout token that says access", siege.world.header(), logout_event, "logout_token_presented"),
        ("a security event", typed("secevent+jwt"), other_event.clone(), "token_kind_unknown"),
        ("a security event, untyped", typed("JWT"), other_event.clone(), "token_kind_unknown"),
        ("a security event that says access", siege.world.header(), other_event, "token_kind_unknown"),
        ("no event at all", siege.world.header(), also(claims.clone(), &json!({ "events": {} })), "token_kind_unknown"),
        ("a DPoP proof with our claims", proven.clone(), also(claims.clone(), &proof), "token_kind_unknown"),
        // As it really is it has no `iss`, and the issuer is judged before the kind.
        ("a DPoP proof", proven, proof.clone(), "claims_malformed"),
        (
            "a client assertion",
            typed("client-authentication+jwt"),
            merged(claims.clone(), &assertion),
            "token_kind_unknown",
        ),
        ("a client assertion, untyped", typed("JWT"), merged(claims.clone(), &assertion), "token_kind_unknown"),
        (
            "a client assertion in the client's own name",
            typed("JWT"),
            merged(claims.clone(), &merged(assertion, &json!({ "iss": "web" }))),
            "issuer_unknown",
        ),
        ("a request object", typed("oauth-authz-req+jwt"), also(claims.clone(), &request), "token_kind_unknown"),
        ("an answer to introspection", typed("token-introspection+jwt"), claims, "token_kind_unknown"),
    ];
    for (about, header, claims, code) in attacks {
        siege.refuse(&siege.world.token_of(&header, &claims), code, about).await;
    }
    siege.end().await;
}

/// 41
#[tokio::test]
async fn a_bound_token_is_not_taken_as_plain_bearer() {
    let mut siege = Siege::usual().await;
    for cnf in [
        json!({ "jkt": base64(&[1; 32]) }),
        json!({ "x5t#S256": base64(&[1; 32]) }),
        json!({ "jwk": Key::p256("proof").jwk() }),
        json!({ "unknown": 1 }),
        json!({}),
    ] {
        let about = cnf.to_string();
        siege.refuse(&claiming(&siege, "cnf", &cnf), "proof_required", &about).await;
        // Before the audience and the scope, after the signature and the time.
        let changes = json!({ "cnf": cnf, "aud": "x", "scope": "x" });
        siege.refuse(&siege.world.token_but(&changes), "proof_required", &about).await;
        let forged =
            Key::rsa("mallory").named("key-1").sign(&siege.world.header(), &merged(siege.world.claims(), &changes));
        siege.refuse(&forged, "signature_invalid", &about).await;
        let expired = siege.world.token_but(&json!({ "cnf": cnf, "exp": 1 }));
        siege.refuse(&expired, "token_expired", &about).await;
    }
    for cnf in [json!(null), json!("jkt"), json!(1), json!(false), json!([])] {
        siege.refuse(&claiming(&siege, "cnf", &cnf), "claims_malformed", &cnf.to_string()).await;
    }
    siege.end().await;
}
