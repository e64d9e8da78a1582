//! B. The algorithm: none, a public key taken for a secret, one that is not the issuer's or not its key's.

use std::os::unix::fs::PermissionsExt as _;

use bearward::policy::dialect::Dialect;
use bearward::policy::issuer::{Issuer as Trusted, Recognition};
use bearward::policy::jwk::{JwkSet, Selection};
use bearward::policy::jwt::{Algorithm, UnverifiedJwt};
use bearward::policy::reject::Code;
use serde_json::{Value, json};

use super::{Siege, with};
use crate::harness::mint::{Family, Key, base64, jwk_set, sign_hmac, signing_input};
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
        introspection: None,
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
