//! B. The key: which ones of a set are usable, and that a token finds its key there by name alone and nowhere else.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Siege, with};
use crate::harness::issuer::{Document, Issuer};
use crate::harness::log;
use crate::harness::mint::{Family, Key, base64, sign_hmac, signing_input, unusable_jwks};
use crate::harness::world::{World, merged};

/// 15
#[tokio::test]
async fn a_key_that_is_not_for_signatures_is_never_used() {
    let rsa = Key::rsa("usable");
    let but = |kid: &str, changes: Value| merged(with(rsa.jwk(), "kid", json!(kid)), &changes);
    let mut unusable = unusable_jwks();
    unusable.extend([
        but("use-empty", json!({ "use": "" })),
        but("use-upper", json!({ "use": "SIG" })),
        but("use-number", json!({ "use": 1 })),
        but("ops-empty", json!({ "use": null, "key_ops": [] })),
        but("ops-sign", json!({ "key_ops": ["sign"] })),
        but("ops-text", json!({ "key_ops": "verify" })),
        but("e-1", json!({ "e": base64(&[1]) })),
        but("e-0", json!({ "e": base64(&[0]) })),
        but("e-even", json!({ "e": base64(&[1, 0, 0]) })),
        but("n-8200", json!({ "n": base64(&[0xa5; 1025]) })),
        but("n-2040", json!({ "n": base64(&[0xa5; 255]) })),
        but("alg-oaep", json!({ "alg": "RSA-OAEP" })),
        but("alg-hmac", json!({ "alg": "HS256" })),
        but("alg-other-type", json!({ "alg": "ES256" })),
        json!({ "kid": "oct-with-alg", "kty": "oct", "alg": "HS256", "k": base64(&[7; 32]), "use": "sig" }),
        with(Key::p256("ec-private").jwk(), "d", json!(base64(&[9; 32]))),
        json!({ "kid": "infinity", "kty": "EC", "crv": "P-256", "x": base64(&[0; 32]), "y": base64(&[0; 32]) }),
        json!({ "kid": "secp256k1", "kty": "EC", "crv": "secp256k1", "x": base64(&[1; 32]), "y": base64(&[1; 32]) }),
    ]);
    let kids: Vec<String> = unusable.iter().map(|jwk| jwk["kid"].as_str().unwrap().to_owned()).collect();
    // A name that no other test's log lines hold.
    unusable.insert(0, json!({ "kid": "left-out-in-attack-15", "kty": "RSA" }));
    let left_out = unusable.len();
    unusable.push(rsa.jwk());
    let mut siege = Siege::begin(World::publishing(unusable).await).await;
    siege.permit(&rsa.token(&siege.world.claims()), "the same key, usable").await;

    let mut attacks = Vec::new();
    for kid in &kids {
        for alg in ["RS256", "PS256"] {
            let header = json!({ "alg": alg, "kid": kid, "typ": "at+jwt" });
            attacks.push((format!("{alg}, {kid}"), rsa.sign(&header, &siege.world.claims())));
        }
        let header = json!({ "alg": "ES256", "kid": kid, "typ": "at+jwt" });
        attacks.push((format!("ES256, {kid}"), Key::p256("usable").sign(&header, &siege.world.claims())));
    }
    siege.refuse_all("key_unknown", attacks).await;
    let header = json!({ "alg": "HS256", "kid": "oct-with-alg", "typ": "at+jwt" });
    let published = sign_hmac(&[7; 32], &header, &siege.world.claims());
    siege.refuse(&published, "algorithm_refused", "a secret that the key set publishes").await;

    assert_eq!(siege.world.gateway.sample("bearward_jwks_keys{issuer=\"main\"}"), Some(2.0));
    assert_eq!(siege.world.issuer.requests(Document::Keys), 1);
    // One line of the log for one fetch, however many tokens came.
    let told = log::lines_with("left-out-in-attack-15");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains(&format!("left_out={left_out} usable=2")), "{told:#?}");
    siege.end().await;
}

/// 15: with the exponent 1 a signature is its own padding, so that anybody could write it.
#[tokio::test]
async fn a_signature_that_anybody_can_write_for_the_exponent_one_is_not_taken() {
    let rsa = Key::rsa("usable");
    let weak = merged(rsa.jwk(), &json!({ "kid": "e-1", "e": base64(&[1]) }));
    let mut siege = Siege::begin(World::publishing(vec![weak]).await).await;
    let header = json!({ "alg": "RS256", "kid": "e-1", "typ": "at+jwt" });
    let input = signing_input(header.to_string().as_bytes(), siege.world.claims().to_string().as_bytes());
    // EMSA-PKCS1-v1_5 of SHA-256 (RFC 8017 section 9.2).
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, input.as_bytes());
    let info = [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];
    let mut padded = vec![0, 1];
    padded.extend(vec![0xff; 256 - 3 - info.len() - 32]);
    padded.push(0);
    padded.extend([&info[..], digest.as_ref()].concat());
    let forged = format!("{input}.{}", base64(&padded));
    siege.refuse(&forged, "key_unknown", "e = 1").await;
    siege.end().await;
}

/// 16
#[tokio::test]
async fn a_key_in_the_token_is_neither_used_nor_fetched() {
    let mallory = Key::rsa("mallory");
    let theirs = Issuer::start(&[mallory, mallory.named("key-1")]).await;
    let mut siege = Siege::usual().await;
    let certificate = base64(&[0x30, 0x82, 1, 0]);
    let members = [
        json!({ "jwk": mallory.jwk() }),
        json!({ "jwk": mallory.named("key-1").jwk() }),
        json!({ "jku": theirs.url_of(Document::Keys) }),
        json!({ "x5u": theirs.url_of(Document::Keys) }),
        json!({ "x5c": [certificate], "x5t": base64(&[1; 20]), "x5t#S256": base64(&[1; 32]) }),
        json!({ "jku": theirs.url_of(Document::Keys), "x5u": theirs.url_of(Document::Discovery), "jwk": mallory.jwk() }),
        json!({ "jwk": 1, "jku": [], "x5u": {}, "x5c": "no", "x5t": false }),
    ];
    for members in members {
        let about = members.to_string();
        siege.permit(&siege.world.token_headed(&members), &about).await;
        let claims = siege.world.claims();
        let header = merged(siege.world.header(), &members);
        siege.refuse(&mallory.sign(&header, &claims), "signature_invalid", &about).await;
        let nameless = merged(header.clone(), &json!({ "kid": null }));
        siege.refuse(&mallory.sign(&nameless, &claims), "signature_invalid", &about).await;
        let named = with(header, "kid", json!("mallory"));
        siege.refuse(&mallory.sign(&named, &claims), "key_unknown", &about).await;
    }
    theirs.round_trip().await;
    assert_eq!((theirs.requests(Document::Keys), theirs.requests(Document::Discovery)), (0, 0));
    siege.end().await;
}

/// 17
#[tokio::test]
async fn an_unknown_kid_costs_one_fetch_and_a_malformed_one_none() {
    let mut siege = Siege::usual().await;
    siege.world.hands.advance(Duration::from_secs(10));
    let fetched = |siege: &Siege| siege.world.issuer.requests(Document::Keys);
    for kid in [
        json!(1),
        json!(null),
        json!(true),
        json!(["key-1"]),
        json!({ "kid": "key-1" }),
        json!("k".repeat(257)),
        json!("é".repeat(129)),
        json!("key-1\0"),
        json!("\0"),
        json!("key-1\n"),
        json!("key-1\r\n"),
        json!("key\t1"),
        json!("\u{1b}[31m"),
        json!("key-1\u{7f}"),
        json!("key-1\u{85}"),
    ] {
        let token = siege.world.token_of(&with(siege.world.header(), "kid", kid.clone()), &siege.world.claims());
        siege.refuse(&token, "token_malformed", &kid.to_string()).await;
    }
    assert_eq!(fetched(&siege), 1);
    let unknown = |siege: &Siege, kid: &str| siege.world.token_headed(&json!({ "kid": kid }));
    siege.refuse(&unknown(&siege, &"k".repeat(256)), "key_unknown", "256 bytes").await;
    assert_eq!(fetched(&siege), 2);
    for at in 0..20 {
        siege.refuse(&unknown(&siege, &format!("unknown-{at}")), "key_unknown", "within the cooldown").await;
    }
    assert_eq!(fetched(&siege), 2);
    siege.world.hands.advance(Duration::from_secs(10));
    siege.refuse(&unknown(&siege, "unknown-1"), "key_unknown", "after the cooldown").await;
    assert_eq!(fetched(&siege), 3);
    siege.end().await;
}

/// 18
#[tokio::test]
async fn a_kid_is_bytes_and_nothing_else() {
    let names = [
        "../../../../etc/passwd",
        "/dev/null",
        "file:///dev/null",
        "http://127.0.0.1:1/keys",
        "' OR '1'='1' --",
        "%s%n%x",
        "${jndi:ldap://127.0.0.1/a}",
        "{{7*7}}",
        "; rm -rf /",
        "*",
        "ключ",
        "a b",
        "",
    ];
    let mut siege = Siege::usual().await;
    for name in names {
        siege.refuse(&siege.world.token_headed(&json!({ "kid": name })), "key_unknown", name).await;
    }
    for near in ["KEY-1", "key-1 ", " key-1", "key%2D1", "key-", "key-10", "key\u{2010}1", "key-1\u{200b}", "./key-1"] {
        siege.refuse(&siege.world.token_headed(&json!({ "kid": near })), "key_unknown", near).await;
    }
    siege.end().await;

    // A key of that very name works: none of them means anything.
    let keys = names.map(|name| Key::p256("named").named(name));
    let mut siege = Siege::begin(World::publishing(keys.iter().map(Key::jwk).collect()).await).await;
    for key in keys {
        siege.permit(&key.token(&siege.world.claims()), key.kid).await;
    }
    siege.end().await;
}

/// 19
#[tokio::test]
async fn without_a_kid_one_key_of_the_algorithm_will_do_and_several_will_not() {
    let nameless = json!({ "kid": null });
    let mut siege = Siege::begin(World::publishing(vec![Key::p256("ec").jwk()]).await).await;
    siege.permit(&siege.world.token_headed(&nameless), "one RSA key").await;
    let ec = Key::p256("ec");
    siege.permit(&ec.sign(&merged(ec.header(), &nameless), &siege.world.claims()), "one EC key").await;
    let other = Key::p256("other");
    let forged = other.sign(&merged(other.header(), &nameless), &siege.world.claims());
    siege.refuse(&forged, "signature_invalid", "signed by a key that is not there").await;
    let p384 = Key::new(Family::P384, "p384");
    let unknown = p384.sign(&merged(p384.header(), &nameless), &siege.world.claims());
    siege.refuse(&unknown, "key_unknown", "no key of that algorithm").await;
    siege.end().await;

    let second = Key::rsa("second");
    let mut siege = Siege::begin(World::publishing(vec![second.jwk()]).await).await;
    siege.refuse(&siege.world.token_headed(&nameless), "key_unknown", "two RSA keys").await;
    siege.permit(&second.token(&siege.world.claims()), "the second, by its name").await;
    siege.end().await;

    // A key that is for another algorithm is none of those that are meant.
    let mut siege = Siege::begin(World::publishing(vec![with(second.jwk(), "alg", json!("PS256"))]).await).await;
    siege.permit(&siege.world.token_headed(&nameless), "one RSA key for RS256, one for PS256").await;
    siege.end().await;
}
