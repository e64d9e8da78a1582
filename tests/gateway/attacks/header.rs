//! B. The JOSE header: algorithm, key, extensions, type, and the form of header and payload. Every token here is signed by the
//! issuer's own key unless a test says otherwise: a good signature never mends what is wrong beside it.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bearward::policy::dialect::Dialect;
use bearward::policy::issuer::{Issuer as Trusted, Recognition};
use bearward::policy::jwk::{JwkSet, Selection};
use bearward::policy::jwt::{Algorithm, UnverifiedJwt};
use bearward::policy::reject::Code;
use serde_json::{Value, json};

use super::{Siege, with, with_text};
use crate::harness::issuer::{Document, Issuer};
use crate::harness::log;
use crate::harness::mint::{Family, Key, base64, jwk_set, sign_hmac, signing_input, unusable_jwks};
use crate::harness::world::{World, merged};

/// 11
#[tokio::test]
async fn alg_none_is_refused() {
    let mut siege = Siege::usual().await;
    let world = &siege.world;
    let mut attacks = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE", "none ", ""] {
        let (header, claims) = (with(world.header(), "alg", json!(alg)), world.claims());
        let input = signing_input(header.to_string().as_bytes(), claims.to_string().as_bytes());
        attacks.push((format!("{alg:?} without a signature"), format!("{input}.")));
        attacks.push((format!("{alg:?} with some signature"), format!("{input}.{}", base64(&[7; 256]))));
        attacks.push((format!("{alg:?} with a good signature"), world.token_of(&header, &claims)));
    }
    siege.refuse_all("algorithm_refused", attacks).await;
    siege.end().await;
}

/// 12
#[tokio::test]
async fn hmac_with_a_public_key_as_its_secret_is_refused() {
    let keys = Family::ALL.map(|family| Key::new(family, family.algorithm()));
    let jwks: Vec<Value> = keys.iter().map(Key::jwk).collect();
    for issuer_lines in ["", "algorithms = [\"RS256\", \"ES256\", \"ES384\", \"ES512\", \"EdDSA\"]"] {
        let mut siege = Siege::begin(World::publishing_configured(issuer_lines, jwks.clone()).await).await;
        let mut attacks = Vec::new();
        for key in keys {
            siege.permit(&key.token(&siege.world.claims()), key.kid).await;
            for (encoding, secret) in key.public_encodings() {
                for alg in ["HS256", "HS384", "HS512"] {
                    let header = with(key.header(), "alg", json!(alg));
                    let token = sign_hmac(&secret, &header, &siege.world.claims());
                    attacks.push((format!("{alg}, {}, {encoding}", key.kid), token));
                }
            }
        }
        let header = json!({ "alg": "HS256", "typ": "at+jwt" });
        attacks.push(("without a kid".to_owned(), sign_hmac(b"", &header, &siege.world.claims())));
        siege.refuse_all("algorithm_refused", attacks).await;
        siege.end().await;
    }
}

/// 12, where no configuration stands before the keys: an issuer that takes every algorithm still gives no public key to HMAC.
#[test]
fn no_public_key_is_ever_a_secret() {
    let issuer = Trusted {
        name: "main".to_owned(),
        spellings: vec!["https://login.example.com".to_owned()],
        recognition: Recognition::Dialect(Dialect::named("rfc9068").unwrap()),
        algorithms: Algorithm::ALL.to_vec(),
        leeway: 0,
        accept_id_tokens: false,
        scope_claim: None,
        known_clients: Vec::new(),
        hmac_secret: None,
    };
    let mut tried = 0;
    for key in Family::ALL.map(|family| Key::new(family, family.algorithm())) {
        let set = JwkSet::parse(jwk_set(&[key]).to_string().as_bytes()).unwrap();
        let own = Algorithm::named(key.family.algorithm()).unwrap();
        let Selection::Keys(candidates) = set.select(Some(key.kid), own) else { panic!("{own:?} is not there") };
        let good = key.token(&json!({}));
        assert!(UnverifiedJwt::parse(&good).unwrap().verify(&issuer, &candidates).is_ok(), "{own:?}");
        for (encoding, secret) in key.public_encodings() {
            for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let about = format!("{alg:?} with {own:?}, {encoding}");
                let token = sign_hmac(&secret, &with(key.header(), "alg", json!(alg.name())), &json!({}));
                let jwt = UnverifiedJwt::parse(&token).unwrap();
                let selected = issuer.keys(&set, jwt.contents()).map(|_| ()).map_err(|reject| reject.code());
                assert_eq!(selected, Err(Code::AlgorithmRefused), "{about}");
                assert!(matches!(set.select(Some(key.kid), alg), Selection::Misfit), "{about}");
                assert!(matches!(set.select(None, alg), Selection::Unknown), "{about}");
                let verified = jwt.verify(&issuer, &candidates).map(|_| ()).map_err(|reject| reject.code());
                assert_eq!(verified, Err(Code::SignatureInvalid), "{about}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 5 * 3 * 13);
}

/// 12
#[tokio::test]
async fn an_issuer_with_a_secret_has_no_public_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hmac.key");
    std::fs::write(&path, "k".repeat(64)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    let lines = format!("algorithms = [\"HS256\"]\nhmac_secret = {{ file = {path:?} }}");
    let world = World::configured(&lines, "").await;
    let claims = world.claims();
    let header = json!({ "alg": "HS256", "typ": "at+jwt" });
    let good = sign_hmac(&[b'k'; 64], &header, &claims);
    let mut siege = Siege::begin_with(world, good).await;
    // A kid says nothing where there is one secret.
    siege.permit(&sign_hmac(&[b'k'; 64], &with(header.clone(), "kid", json!("any")), &claims), "some kid").await;

    let hs512 = sign_hmac(&[b'k'; 64], &with(header.clone(), "alg", json!("HS512")), &claims);
    siege.refuse(&hs512, "algorithm_refused", "HS512, which is not in the list").await;
    let rs256 = siege.world.key.sign(&siege.world.header(), &claims);
    siege.refuse(&rs256, "algorithm_refused", "RS256 with a key that the issuer publishes").await;
    for (about, secret) in
        [("another secret", "j".repeat(64)), ("a longer one", "k".repeat(65)), ("none", String::new())]
    {
        siege.refuse(&sign_hmac(secret.as_bytes(), &header, &claims), "signature_invalid", about).await;
    }
    siege.end().await;
}

/// 13
#[tokio::test]
async fn an_algorithm_that_is_not_the_issuers_is_refused() {
    let world = World::configured("algorithms = [\"RS256\", \"ES256\"]", "").await;
    let mut siege = Siege::begin(world).await;
    let world = &siege.world;
    let mut attacks = Vec::new();
    for alg in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        attacks.push((alg.to_owned(), world.token_headed(&json!({ "alg": alg }))));
    }
    for alg in [
        json!("EdDSA"),
        json!("ES384"),
        json!("HS256"),
        json!("ES256K"),
        json!("Ed25519"),
        json!("ML-DSA-65"),
        json!("RS1"),
        json!("RSA-OAEP"),
        json!("dir"),
        json!("rs256"),
        json!("Rs256"),
        json!("RS256 "),
        json!(" RS256"),
        json!("RS256\0"),
        json!("RS-256"),
        json!("sha256WithRSAEncryption"),
        json!(""),
        json!(256),
        json!(null),
        json!(true),
        json!(["RS256"]),
        json!({ "RS256": true }),
    ] {
        let header = with(world.header(), "alg", alg.clone());
        attacks.push((alg.to_string(), world.token_of(&header, &world.claims())));
    }
    let absent = merged(world.header(), &json!({ "alg": null }));
    attacks.push(("absent".to_owned(), world.token_of(&absent, &world.claims())));
    siege.refuse_all("algorithm_refused", attacks).await;
    siege.end().await;
}

/// 14
#[tokio::test]
async fn an_algorithm_that_is_not_its_keys_is_refused() {
    let fixed = Key::rsa("fixed");
    let (p256, p384, p521) = (Key::p256("p256"), Key::new(Family::P384, "p384"), Key::new(Family::P521, "p521"));
    let ed25519 = Key::new(Family::Ed25519, "ed25519");
    let mut jwks: Vec<Value> = [p256, p384, p521, ed25519].iter().map(Key::jwk).collect();
    jwks.push(with(fixed.jwk(), "alg", json!("RS256")));
    let mut siege = Siege::begin(World::publishing(jwks).await).await;
    let claims = siege.world.claims();
    for key in [fixed, p256, p384, p521, ed25519] {
        siege.permit(&key.token(&claims), key.kid).await;
    }
    let mut attacks = Vec::new();
    for alg in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        let token = fixed.sign(&with(fixed.header(), "alg", json!(alg)), &claims);
        attacks.push((format!("{alg} with a JWK that says RS256"), token));
    }
    for key in [siege.world.key, p256, p384, p521, ed25519] {
        for signer in [siege.world.key, p256, p384, p521, ed25519].iter().filter(|other| other.family != key.family) {
            let token = signer.sign(&with(signer.header(), "kid", json!(key.kid)), &claims);
            attacks.push((format!("{} with the key {}", signer.family.algorithm(), key.kid), token));
            // Signed by the key itself, under the other's name.
            let header = with(key.header(), "alg", json!(signer.family.algorithm()));
            let input = signing_input(header.to_string().as_bytes(), claims.to_string().as_bytes());
            let signature = key.signature(key.family.algorithm(), input.as_bytes());
            let token = format!("{input}.{}", base64(&signature));
            attacks.push((format!("{} by the key {}", signer.family.algorithm(), key.kid), token));
        }
    }
    siege.refuse_all("algorithm_refused", attacks).await;
    siege.end().await;
}

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

/// 20
#[tokio::test]
async fn crit_is_refused_in_any_form() {
    let mut siege = Siege::usual().await;
    for crit in [
        json!([]),
        json!(["exp"]),
        json!(["b64"]),
        json!(["alg", "typ"]),
        json!(["http://example.com/unknown"]),
        json!(["absent"]),
        json!(["b64", "b64"]),
        json!([1]),
        json!("b64"),
        json!(null),
        json!(false),
        json!(0),
        json!({}),
    ] {
        let header = merged(with(siege.world.header(), "crit", crit.clone()), &json!({ "b64": true, "exp": 1 }));
        let token = siege.world.token_of(&header, &siege.world.claims());
        siege.refuse(&token, "extension_refused", &crit.to_string()).await;
        // Before everything that follows in the order: issuer, kind, algorithm, time.
        let header = merged(header, &json!({ "alg": "none", "typ": "logout+jwt" }));
        let claims = merged(siege.world.claims(), &json!({ "iss": "https://evil.example.com", "exp": 1 }));
        siege.refuse(&siege.world.token_of(&header, &claims), "extension_refused", "before the rest").await;
    }
    let twice = with_text(siege.world.header(), "crit", "[\"b64\"],\"crit\":[\"b64\"]");
    let token = siege.world.token_of_text(&twice, &siege.world.claims().to_string());
    siege.refuse(&token, "token_malformed", "two of them: the form comes first").await;
    siege.end().await;
}

/// 21
#[tokio::test]
async fn what_changes_the_payload_is_refused() {
    let mut siege = Siege::usual().await;
    let headed = |siege: &Siege, name: &str, value: Value| {
        siege.world.token_of(&with(siege.world.header(), name, value), &siege.world.claims())
    };
    siege.permit(&headed(&siege, "b64", json!(true)), "b64 true").await;
    for b64 in [json!(false), json!("true"), json!(1), json!(null), json!([true])] {
        siege.refuse(&headed(&siege, "b64", b64.clone()), "extension_refused", &format!("b64 {b64}")).await;
    }
    siege.permit(&headed(&siege, "zip", json!("NONE")), "zip NONE").await;
    for zip in [json!("DEF"), json!("none"), json!("GZIP"), json!(""), json!(null), json!(1), json!(["NONE"])] {
        siege.refuse(&headed(&siege, "zip", zip.clone()), "extension_refused", &format!("zip {zip}")).await;
    }
    for enc in [json!("A256GCM"), json!(null), json!("")] {
        siege.refuse(&headed(&siege, "enc", enc.clone()), "token_malformed", &format!("enc {enc}")).await;
    }
    let header = base64(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
    let parts = [base64(&[1; 256]), base64(&[2; 12]), base64(&[3; 600]), base64(&[4; 16])];
    siege.refuse(&format!("{header}.{}", parts.join(".")), "token_malformed", "five parts").await;
    siege.refuse(&format!("{header}..{}", parts[1..].join(".")), "token_malformed", "five parts, alg dir").await;
    let good = siege.world.token();
    siege.refuse(&format!("{good}.{}.{}", parts[1], parts[3]), "token_malformed", "a good token of five parts").await;
    siege.end().await;
}

/// 22
#[tokio::test]
async fn the_type_says_what_a_token_is_for() {
    let mut siege = Siege::usual().await;
    for typ in ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "APPLICATION/AT+JWT"] {
        siege.permit(&siege.world.token_headed(&json!({ "typ": typ })), typ).await;
    }
    for typ in ["logout+jwt", "Logout+JWT", "application/logout+jwt"] {
        siege.refuse(&siege.world.token_headed(&json!({ "typ": typ })), "logout_token_presented", typ).await;
    }
    for typ in OTHER_TYPES.iter().chain(&["JWT", "jwt", "at", "at+jwt ", "at+jwt;v=1", "application/jwt", ""]) {
        siege.refuse(&siege.world.token_headed(&json!({ "typ": typ })), "token_kind_unknown", typ).await;
    }
    siege.refuse(&siege.world.token_headed(&json!({ "typ": null })), "token_kind_unknown", "no typ").await;
    for typ in [json!(null), json!(1), json!(["at+jwt"]), json!({})] {
        let token = siege.world.token_of(&with(siege.world.header(), "typ", typ.clone()), &siege.world.claims());
        siege.refuse(&token, "token_malformed", &typ.to_string()).await;
    }
    siege.end().await;
}

/// Types of tokens that no API is for.
const OTHER_TYPES: &[&str] = &[
    "dpop+jwt",
    "secevent+jwt",
    "oauth-authz-req+jwt",
    "token-introspection+jwt",
    "client-authentication+jwt",
    "authorization-grant+jwt",
    "entity-statement+jwt",
    "vc+sd-jwt+jwt",
    "id+jwt",
    "rt+jwt",
    "xat+jwt",
    "application/dpop+jwt",
    "+jwt",
];

/// 22
#[tokio::test]
async fn a_missing_type_is_as_the_dialect_says() {
    let mut siege = Siege::begin(World::configured("dialect = \"forgerock\"", "").await).await;
    let claims = with(siege.world.claims(), "tokenName", json!("access_token"));
    let typed = |siege: &Siege, typ: Value, claims: &Value| {
        siege.world.token_of(&merged(siege.world.header(), &json!({ "typ": typ })), claims)
    };
    for typ in [json!(null), json!("JWT"), json!("jwt"), json!("at+jwt")] {
        siege.permit(&typed(&siege, typ.clone(), &claims), &typ.to_string()).await;
    }
    let unmarked = typed(&siege, json!("JWT"), &siege.world.claims());
    siege.refuse(&unmarked, "token_kind_unknown", "neither type nor mark").await;
    siege.refuse(&typed(&siege, json!("logout+jwt"), &claims), "logout_token_presented", "logout+jwt").await;
    for typ in OTHER_TYPES {
        siege.refuse(&typed(&siege, json!(typ), &claims), "token_kind_unknown", typ).await;
    }
    siege.end().await;
}

/// 23
#[tokio::test]
async fn what_two_readers_could_read_differently_is_malformed() {
    let mut siege = Siege::usual().await;
    let world = &siege.world;
    let (header, claims) = (world.header().to_string(), world.claims().to_string());
    let mut attacks = Vec::new();
    for (which, text, member) in [("header", &header, "alg"), ("payload", &claims, "iss")] {
        let open = &text[1..];
        let value = serde_json::from_str::<Value>(text).unwrap()[member].to_string();
        let escaped = format!("\\u{:04x}{}", member.as_bytes()[0], &member[1..]);
        let deep = |levels: usize| format!("{{\"deep\":{}1{},{open}", "[".repeat(levels), "]".repeat(levels));
        let objects = |levels: usize| format!("{{\"deep\":{}1{},{open}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let texts: Vec<(&str, Vec<u8>)> = vec![
            ("a member twice", format!("{{\"{member}\":{value},{open}").into()),
            ("a member twice, with another value first", format!("{{\"{member}\":\"x\",{open}").into()),
            ("a member twice, by escape", format!("{{\"{escaped}\":{value},{open}").into()),
            ("a member that nobody reads twice", format!("{{\"x\":1,\"x\":1,{open}").into()),
            ("a member twice within", format!("{{\"x\":{{\"a\":1,\"a\":2}},{open}").into()),
            ("a member twice within an array", format!("{{\"x\":[[{{\"a\":1,\"\\u0061\":2}}]],{open}").into()),
            ("a byte order mark", format!("\u{feff}{text}").into()),
            ("UTF-16", text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
            ("a byte behind", format!("{text}x").into()),
            ("NUL behind", format!("{text}\0").into()),
            ("a second object", format!("{text}{text}").into()),
            ("an array", format!("[{text}]").into()),
            ("a string", Value::from(text.as_str()).to_string().into()),
            ("a number", "1".into()),
            ("null", "null".into()),
            ("nothing but a blank", " ".into()),
            ("too deep", deep(32).into()),
            ("too deep by objects", objects(32).into()),
            ("far too deep", deep(3000).into()),
            ("no end", text[..text.len() - 1].into()),
            ("invalid UTF-8", [b"{\"x\":\"\xff\",", open.as_bytes()].concat()),
            ("overlong UTF-8", [b"{\"x\":\"\xc0\xaf\",", open.as_bytes()].concat()),
            ("a surrogate in UTF-8", [b"{\"x\":\"\xed\xa0\x80\",", open.as_bytes()].concat()),
            ("a lone surrogate", format!("{{\"x\":\"\\ud800\",{open}").into()),
            ("a lone low surrogate", format!("{{\"x\":\"\\udc00x\",{open}").into()),
            ("a control character", format!("{{\"x\":\"\n\",{open}").into()),
            ("a comma too many", format!("{{{},}}", &text[1..text.len() - 1]).into()),
            ("a comment", format!("{{/**/{open}").into()),
            ("single quotes", format!("{{'x':1,{open}").into()),
            ("NaN", format!("{{\"x\":NaN,{open}").into()),
            ("Infinity", format!("{{\"x\":-Infinity,{open}").into()),
            ("a number with a leading zero", format!("{{\"x\":01,{open}").into()),
        ];
        for (about, bytes) in texts {
            let (header, claims) = match which {
                "header" => (bytes.as_slice(), claims.as_bytes()),
                _ => (header.as_bytes(), bytes.as_slice()),
            };
            attacks.push((format!("{which}: {about}"), world.key.sign_raw("RS256", header, claims)));
        }
        // As deep as is read, and blanks where JSON has them.
        for (about, text) in [("deep", deep(31)), ("deep", objects(31)), ("blanks", format!(" {text}\r\n"))] {
            let token = match which {
                "header" => world.token_of_text(&text, &claims),
                _ => world.token_of_text(&header, &text),
            };
            attacks.push((format!("passes: {which}, {about}"), token));
        }
    }
    for (about, token) in attacks {
        if about.starts_with("passes") {
            siege.permit(&token, &about).await;
        } else {
            siege.refuse(&token, "token_malformed", &about).await;
        }
    }
    siege.end().await;
}

/// 24
#[tokio::test]
async fn unknown_members_and_claims_are_ignored() {
    let mut siege = Siege::usual().await;
    for value in [json!(null), json!(true), json!(-1.5), json!("\0\n"), json!([1, [null]]), json!({ "a": {} })] {
        let header = with(siege.world.header(), "x", value.clone());
        let claims = with(with(siege.world.claims(), "x", value.clone()), "auth_time", value.clone());
        let claims = with(with(claims, "acr", value.clone()), "amr", value.clone());
        let seen = siege.permit(&siege.world.token_of(&header, &claims), &value.to_string()).await;
        assert_eq!(seen.all("x-user"), ["alice"]);
    }
    siege.end().await;
}
