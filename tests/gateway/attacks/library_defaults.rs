//! Tokens with a good signature that `jsonwebtoken` takes when its defaults are left as they are, with `set_audience` and
//! `set_issuer` called: nine ways in which a verifier that trusts its library is open.

use serde_json::{Value, json};

use super::{Siege, with, with_text};
use crate::harness::mint::{Family, Key, sign_hmac};
use crate::harness::world::{World, merged};

/// A token of the good header whose claims are changed like this; a null is a value.
fn changed(siege: &Siege, changes: &[(&str, Value)]) -> String {
    let claims = changes.iter().fold(siege.world.claims(), |claims, (name, value)| with(claims, name, value.clone()));
    siege.world.token_of(&siege.world.header(), &claims)
}

#[tokio::test]
async fn a_token_without_audience_and_issuer() {
    let mut siege = Siege::usual().await;
    let neither = siege.world.token_but(&json!({ "aud": null, "iss": null }));
    siege.refuse(&neither, "claims_malformed", "neither").await;
    siege.refuse(&siege.world.token_but(&json!({ "iss": null })), "claims_malformed", "no issuer").await;
    siege.refuse(&siege.world.token_but(&json!({ "aud": null })), "audience_wrong", "no audience").await;
    siege.end().await;
}

#[tokio::test]
async fn an_audience_and_an_issuer_of_the_wrong_type() {
    let mut siege = Siege::usual().await;
    let both = changed(&siege, &[("aud", json!(1)), ("iss", json!({}))]);
    siege.refuse(&both, "claims_malformed", "both").await;
    siege.refuse(&changed(&siege, &[("aud", json!(1))]), "claims_malformed", "the audience").await;
    siege.refuse(&changed(&siege, &[("iss", json!({}))]), "claims_malformed", "the issuer").await;
    siege.end().await;
}

#[tokio::test]
async fn an_array_of_issuers_with_ours_among_them() {
    let mut siege = Siege::usual().await;
    let ours = siege.world.issuer.url();
    for issuers in [json!(["https://evil.example.com", ours]), json!([ours])] {
        siege.refuse(&changed(&siege, &[("iss", issuers)]), "claims_malformed", "an array").await;
    }
    siege.end().await;
}

#[tokio::test]
async fn a_token_that_expired_thirty_seconds_ago() {
    let mut siege = Siege::usual().await;
    let exp = siege.world.now() - 30;
    siege.refuse(&changed(&siege, &[("exp", json!(exp))]), "token_expired", "30 s ago").await;
    siege.end().await;
}

#[tokio::test]
async fn a_token_that_begins_in_an_hour() {
    let mut siege = Siege::usual().await;
    let later = siege.world.now() + 3600;
    let token = changed(&siege, &[("nbf", json!(later)), ("exp", json!(later + 3600))]);
    siege.refuse(&token, "token_not_yet_valid", "nbf").await;
    let token = changed(&siege, &[("iat", json!(later)), ("exp", json!(later + 3600))]);
    siege.refuse(&token, "token_not_yet_valid", "iat").await;
    siege.end().await;
}

#[tokio::test]
async fn a_critical_extension_that_nobody_knows() {
    let mut siege = Siege::usual().await;
    for extension in [
        json!({ "crit": ["http://example.com/x"], "http://example.com/x": 1 }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": false }),
    ] {
        siege.refuse(&siege.world.token_headed(&extension), "extension_refused", &extension.to_string()).await;
    }
    siege.end().await;
}

#[tokio::test]
async fn a_logout_token() {
    let mut siege = Siege::usual().await;
    let token = siege.world.token_headed(&json!({ "typ": "logout+jwt" }));
    siege.refuse(&token, "logout_token_presented", "logout+jwt").await;
    siege.end().await;
}

#[tokio::test]
async fn a_claim_that_stands_twice() {
    let mut siege = Siege::usual().await;
    for (first, second) in [("\"write\"", "\"read\""), ("\"read\"", "\"write\""), ("\"read\"", "\"read\"")] {
        let claims = with_text(siege.world.claims(), "scope", &format!("{first},\"scope\":{second}"));
        let token = siege.world.token_of_text(&siege.world.header().to_string(), &claims);
        siege.refuse(&token, "token_malformed", &claims).await;
    }
    siege.end().await;
}

#[tokio::test]
async fn a_key_that_is_published_for_something_else() {
    let (rsa, p521) = (Key::rsa("published"), Key::new(Family::P521, "p521"));
    let secret = json!({ "kid": "secret", "kty": "oct", "k": crate::harness::mint::base64(&[7; 64]) });
    let named = |kid: &str, changes: Value| merged(with(rsa.jwk(), "kid", json!(kid)), &changes);
    let jwks = vec![
        named("enc", json!({ "use": "enc" })),
        named("oaep", json!({ "use": null, "alg": "RSA-OAEP" })),
        named("both", json!({ "use": "enc", "alg": "RSA-OAEP-256" })),
        secret,
        p521.jwk(),
    ];
    let mut siege = Siege::begin(World::publishing(jwks).await).await;
    let claims = siege.world.claims();
    for kid in ["enc", "oaep", "both"] {
        let header = with(rsa.header(), "kid", json!(kid));
        siege.refuse(&rsa.sign(&header, &claims), "key_unknown", kid).await;
    }
    for alg in ["HS256", "HS384", "HS512"] {
        let header = json!({ "alg": alg, "kid": "secret", "typ": "at+jwt" });
        siege.refuse(&sign_hmac(&[7; 64], &header, &claims), "algorithm_refused", alg).await;
    }
    // P-521 is for ES512 alone.
    siege.permit(&p521.token(&claims), "ES512").await;
    for alg in ["ES256", "ES384"] {
        let token = p521.sign(&with(p521.header(), "alg", json!(alg)), &claims);
        siege.refuse(&token, "algorithm_refused", alg).await;
    }
    siege.end().await;
}
