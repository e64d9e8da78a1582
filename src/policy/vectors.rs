//! The verifier against other people's vectors: Wycheproof's signatures and key sets, and the JOSE cookbook's examples.
//!
//! Their messages are no JWTs, so these tests stand inside the crate, where a key can be asked about any bytes; what a
//! whole token meets on its way is tested over the wire.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::jwk::{JwkSet, Selection};
use super::jwt::{Algorithm, UnverifiedJwt};
use super::reject::Reject;

macro_rules! data {
    ($path:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../tests/data/", $path))).unwrap()
    };
}

/// Whether a set of this one key takes the signature.
fn verifies(key: &Value, algorithm: Algorithm, input: &[u8], signature: &[u8]) -> bool {
    set_verifies(&json!({ "keys": [key] }), None, algorithm, input, signature)
}

fn set_verifies(set: &Value, kid: Option<&str>, algorithm: Algorithm, input: &[u8], signature: &[u8]) -> bool {
    let set = JwkSet::parse(set.to_string().as_bytes()).unwrap();
    match set.select(kid, algorithm) {
        Selection::Keys(keys) => keys.iter().any(|key| key.verifies(algorithm, input, signature)),
        Selection::Unknown | Selection::Undecided | Selection::Misfit => false,
    }
}

fn hex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The group's key as a JWK; some groups have only the point's coordinates, as signed integers.
fn group_key(group: &Value, algorithm: Algorithm) -> Value {
    if let Some(key) = group.get("publicKeyJwk").or(group.get("keyJwk")) {
        return key.clone();
    }
    let curves = [(Algorithm::ES256, "P-256", 32), (Algorithm::ES384, "P-384", 48), (Algorithm::ES512, "P-521", 66)];
    let (_, curve, size) = curves.into_iter().find(|(known, ..)| *known == algorithm).unwrap();
    let point = hex(&group["publicKey"]["uncompressed"]);
    let (x, y) = point[1..].split_at(size);
    json!({"kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
}

/// Holds every vector of the file against the verifier, and the file against the numbers that were counted in it.
fn check(file: &Value, algorithm: Algorithm, valid: usize, invalid: usize) {
    let (mut seen_valid, mut seen_invalid) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let key = group_key(group, algorithm);
        for test in group["tests"].as_array().unwrap() {
            let verified = verifies(&key, algorithm, &hex(&test["msg"]), &hex(&test["sig"]));
            let about = format!("{algorithm:?} {}: {}", test["tcId"], test["comment"]);
            match test["result"].as_str().unwrap() {
                "valid" => {
                    assert!(verified, "{about}");
                    seen_valid += 1;
                }
                "invalid" => {
                    assert!(!verified, "{about}");
                    seen_invalid += 1;
                }
                // Signatures that an old library makes and a careful verifier refuses.
                "acceptable" => assert!(!verified, "{about}"),
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!((seen_valid, seen_invalid), (valid, invalid), "{algorithm:?}");
}

#[test]
fn wycheproof_ecdsa() {
    check(&data!("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json"), Algorithm::ES256, 173, 89);
    check(&data!("wycheproof/ecdsa_secp384r1_sha384_p1363_test.json"), Algorithm::ES384, 193, 87);
    check(&data!("wycheproof/ecdsa_secp521r1_sha512_p1363_test.json"), Algorithm::ES512, 231, 87);
}

#[test]
fn wycheproof_rsa() {
    check(&data!("wycheproof/rsa_signature_2048_sha256_test.json"), Algorithm::RS256, 9, 249);
    check(&data!("wycheproof/rsa_signature_3072_sha384_test.json"), Algorithm::RS384, 7, 251);
    check(&data!("wycheproof/rsa_signature_4096_sha512_test.json"), Algorithm::RS512, 7, 251);
}

#[test]
fn wycheproof_rsa_pss() {
    check(&data!("wycheproof/rsa_pss_2048_sha256_mgf1_32_test.json"), Algorithm::PS256, 63, 45);
    check(&data!("wycheproof/rsa_pss_4096_sha384_mgf1_48_test.json"), Algorithm::PS384, 95, 46);
    check(&data!("wycheproof/rsa_pss_4096_sha512_mgf1_64_test.json"), Algorithm::PS512, 132, 47);
}

#[test]
fn wycheproof_ed25519() {
    check(&data!("wycheproof/ed25519_test.json"), Algorithm::EdDSA, 88, 63);
}

/// The parts of a compact JWS: `kid`, algorithm, what is signed, the signature.
fn compact(token: &str) -> (Option<String>, Algorithm, Vec<u8>, Vec<u8>) {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = input.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let algorithm = Algorithm::named(header["alg"].as_str().unwrap()).unwrap();
    let kid = header["kid"].as_str().map(str::to_owned);
    (kid, algorithm, input.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

#[test]
fn wycheproof_key_sets() {
    let file = data!("wycheproof/json_web_key_test.json");
    let mut verified = Vec::new();
    let mut refused = 0;
    for group in file["testGroups"].as_array().unwrap() {
        // Where a set has symmetric keys alone there is no public form of it: an issuer that published it would publish
        // secrets.
        let set = group.get("public").unwrap_or(&group["private"]);
        for test in group["tests"].as_array().unwrap() {
            let (kid, algorithm, input, signature) = compact(test["jws"].as_str().unwrap());
            if set_verifies(set, kid.as_deref(), algorithm, &input, &signature) {
                verified.push(test["tcId"].as_u64().unwrap());
            } else {
                refused += 1;
            }
        }
    }
    // Of the five valid ones four are HMAC (2, 13, 14, 15): a key that a key set publishes is no secret.
    assert_eq!(verified, [5]);
    assert_eq!(refused, 25);
}

#[test]
fn cookbook_signatures() {
    for (file, algorithm) in [
        (data!("jose-cookbook/jws/4_1.rsa_v15_signature.json"), Algorithm::RS256),
        (data!("jose-cookbook/jws/4_2.rsa-pss_signature.json"), Algorithm::PS384),
        (data!("jose-cookbook/jws/4_3.ecdsa_signature.json"), Algorithm::ES512),
        (data!("jose-cookbook/curve25519/jws.json"), Algorithm::EdDSA),
    ] {
        let token = file["output"]["compact"].as_str().unwrap();
        let (kid, named, input, signature) = compact(token);
        assert_eq!(named, algorithm);
        let whole = &file["input"]["key"];
        let public: serde_json::Map<String, Value> = ["kty", "kid", "use", "crv", "x", "y", "n", "e"]
            .iter()
            .filter_map(|member| Some(((*member).to_owned(), whole.get(member)?.clone())))
            .collect();
        let set = json!({ "keys": [public] });
        let with = |input: &[u8], signature: &[u8]| set_verifies(&set, kid.as_deref(), algorithm, input, signature);
        assert!(with(&input, &signature), "{algorithm:?}");

        let payload_at = input.iter().position(|byte| *byte == b'.').unwrap() + 1;
        for at in [0, payload_at] {
            let mut changed = input.clone();
            changed[at] ^= 1;
            assert!(!with(&changed, &signature), "{algorithm:?}: a changed byte at {at}");
        }
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!with(&input, &changed), "{algorithm:?}: a changed signature at {at}");
        }
        assert!(!with(&input, &signature[..signature.len() - 1]), "{algorithm:?}: a signature cut short");
        // The cookbook signs a sentence, not claims.
        assert_eq!(malformed(token), Some("has a payload that is not one JSON object"));
        // Its keys are printed with their private parts: such a key is never taken from a set.
        assert!(!verifies(whole, algorithm, &input, &signature), "{algorithm:?}: a private key");
    }
}

/// Why the text is no token that is read here.
fn malformed(token: &str) -> Option<&'static str> {
    match UnverifiedJwt::parse(token) {
        Err(Reject::TokenMalformed { what }) => Some(what),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

#[test]
fn cookbook_forms_that_are_not_read() {
    let hmac = data!("jose-cookbook/jws/4_4.hmac-sha2_integrity_protection.json");
    let (kid, algorithm, input, signature) = compact(hmac["output"]["compact"].as_str().unwrap());
    let set = json!({ "keys": [hmac["input"]["key"]] });
    assert!(!set_verifies(&set, kid.as_deref(), algorithm, &input, &signature), "a symmetric key in a key set");

    let detached = data!("jose-cookbook/jws/4_5.signature_with_detached_content.json");
    assert_eq!(malformed(detached["output"]["compact"].as_str().unwrap()), Some("has an empty part"));

    for file in [
        data!("jose-cookbook/jws/4_6.protecting_specific_header_fields.json"),
        data!("jose-cookbook/jws/4_7.protecting_content_only.json"),
        data!("jose-cookbook/jws/4_8.multiple_signatures.json"),
    ] {
        let output = file["output"].as_object().unwrap();
        assert!(!output.contains_key("compact"));
        for form in output.values() {
            assert!(malformed(&form.to_string()).is_some(), "the JSON serialization is no bearer token");
        }
    }

    for file in [
        data!("jose-cookbook/rfc7797/4.2.hmac-sha2_b64_false.json"),
        data!("jose-cookbook/rfc7797/hmac-sha2_b64_false.json"),
    ] {
        for form in file["output"].as_object().unwrap().values() {
            let text = form.as_str().map_or_else(|| form.to_string(), str::to_owned);
            assert!(malformed(&text).is_some(), "a payload that is not encoded");
        }
    }
}

#[test]
fn cookbook_encrypted_tokens() {
    let encrypted = Some("is encrypted (five parts), and nothing is decrypted here");
    let compact = |file: &Value| malformed(file["output"]["compact"].as_str().unwrap());
    for file in [
        data!("jose-cookbook/jwe/5_1.key_encryption_using_rsa_v15_and_aes-hmac-sha2.json"),
        data!("jose-cookbook/jwe/5_2.key_encryption_using_rsa-oaep_with_aes-gcm.json"),
        data!("jose-cookbook/jwe/5_3.key_wrap_using_pbes2-aes-keywrap_with-aes-cbc-hmac-sha2.json"),
        data!("jose-cookbook/jwe/5_4.key_agreement_with_key_wrapping_using_ecdh-es_and_aes-keywrap_with_aes-gcm.json"),
        data!("jose-cookbook/jwe/5_5.key_agreement_using_ecdh-es_with_aes-cbc-hmac-sha2.json"),
        data!("jose-cookbook/jwe/5_6.direct_encryption_using_aes-gcm.json"),
        data!("jose-cookbook/jwe/5_7.key_wrap_using_aes-gcm_keywrap_with_aes-cbc-hmac-sha2.json"),
        data!("jose-cookbook/jwe/5_8.key_wrap_using_aes-keywrap_with_aes-gcm.json"),
        data!("jose-cookbook/jwe/5_9.compressed_content.json"),
        data!("jose-cookbook/curve25519/ecdh-es.json"),
    ] {
        assert_eq!(compact(&file), encrypted, "{}", file["title"]);
    }
    let nested = data!("jose-cookbook/6.nesting_signatures_and_encryption.json");
    assert_eq!(malformed(nested["encrypt"]["output"]["compact"].as_str().unwrap()), encrypted);
}

#[test]
fn cookbook_keys() {
    let secret = Err("is a private or symmetric key, which a key set must never publish");
    for (key, expected) in [
        (data!("jose-cookbook/jwk/3_1.ec_public_key.json"), Ok(())),
        (data!("jose-cookbook/jwk/3_2.ec_private_key.json"), secret),
        (data!("jose-cookbook/jwk/3_3.rsa_public_key.json"), Ok(())),
        (data!("jose-cookbook/jwk/3_4.rsa_private_key.json"), secret),
        (data!("jose-cookbook/jwk/3_5.symmetric_key_mac_computation.json"), secret),
        (data!("jose-cookbook/jwk/3_6.symmetric_key_encryption.json"), Err("has a `use` other than `sig`")),
    ] {
        let set = JwkSet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
        let read = set.unusable().first().map_or(Ok(()), |unusable| Err(unusable.why));
        assert_eq!(read, expected, "{}", key["kid"]);
        assert_eq!(set.len(), usize::from(expected.is_ok()));
    }
}
