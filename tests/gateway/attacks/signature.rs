//! C. The signature, and the outer form of the token.

use serde_json::{Value, json};

use super::{Siege, with};
use crate::harness::mint::{Family, Key, base64, signing_input};
use crate::harness::world::{AUDIENCE, World};

/// The three parts of a token, the last one decoded.
fn split(token: &str) -> (String, Vec<u8>) {
    use base64::Engine as _;
    let (input, signature) = token.rsplit_once('.').unwrap();
    (input.to_owned(), base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap())
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The sum of two numbers of that many bytes, big-endian; the carry is lost.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    assert_eq!(a.len(), b.len());
    let mut carry = 0;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            carry += u16::from(*a) + u16::from(*b);
            let digit = carry.to_le_bytes()[0];
            carry >>= 8;
            digit
        })
        .collect();
    digits.reverse();
    digits
}

/// A DER `SEQUENCE` of two integers, as X.509 writes an ECDSA signature.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let start = number.iter().take_while(|byte| **byte == 0).count();
        let sign: &[u8] = if number[start] & 0x80 == 0 { &[] } else { &[0] };
        let body = [sign, &number[start..]].concat();
        [&[2, body.len() as u8], body.as_slice()].concat()
    };
    let body = [integer(r), integer(s)].concat();
    let length = body.len() as u8;
    let head = if length < 0x80 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
    [head, body].concat()
}

/// The order of each curve's group (FIPS 186-4 appendix D.1.2).
const ORDERS: [(Family, &str, &str); 3] = [
    (Family::P256, "p256", "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    (
        Family::P384,
        "p384",
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    ),
    (
        Family::P521,
        "p521",
        "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    ),
];

/// 25
#[tokio::test]
async fn an_ecdsa_signature_out_of_range_or_form_is_invalid() {
    let keys = ORDERS.map(|(family, kid, _)| Key::new(family, kid));
    let mut siege = Siege::begin(World::publishing(keys.iter().map(Key::jwk).collect()).await).await;
    for (key, (family, kid, order)) in keys.iter().zip(ORDERS) {
        let order = bytes(order);
        let size = order.len();
        let token = key.token(&siege.world.claims());
        siege.permit(&token, kid).await;
        let (input, signature) = split(&token);
        let (r, s) = signature.split_at(size);
        let zero = vec![0; size];
        let one = [&zero[1..], &[1]].concat();
        let top = vec![0xff; size];
        let pair = |r: &[u8], s: &[u8]| [r, s].concat();
        let mut signatures = vec![
            ("r is 0", pair(&zero, s)),
            ("s is 0", pair(r, &zero)),
            ("both are 0", pair(&zero, &zero)),
            ("both are 1", pair(&one, &one)),
            ("r is n", pair(&order, s)),
            ("s is n", pair(r, &order)),
            ("both are n", pair(&order, &order)),
            ("r is n + 1", pair(&sum(&order, &one), s)),
            ("s is n + 1", pair(r, &sum(&order, &one))),
            ("r is as large as fits", pair(&top, s)),
            ("s is as large as fits", pair(r, &top)),
            ("r and s in the other order", pair(s, r)),
            ("r twice", pair(r, r)),
            ("DER", der(r, s)),
            ("half of it", r.to_vec()),
            ("a byte short", signature[..2 * size - 1].to_vec()),
            ("a byte short in front", signature[1..].to_vec()),
            ("a byte long", pair(&signature, &[0])),
            ("a byte long in front", pair(&[0], &signature)),
            ("each a byte long in front", [&[0], r, &[0], s].concat()),
            ("twice", pair(&signature, &signature)),
        ];
        if family == Family::P521 {
            // Here alone the same residue has a second spelling that still fits.
            signatures.push(("r + n", pair(&sum(r, &order), s)));
            signatures.push(("s + n", pair(r, &sum(s, &order))));
        }
        let attacks = signatures
            .into_iter()
            .map(|(about, signature)| (format!("{kid}: {about}"), format!("{input}.{}", base64(&signature))));
        siege.refuse_all("signature_invalid", attacks.collect::<Vec<_>>()).await;
    }
    siege.end().await;
}

/// 25, for Ed25519 (RFC 8032 section 5.1.7): S is below the group's order, and nothing has two spellings.
#[tokio::test]
async fn an_ed25519_signature_out_of_range_or_form_is_invalid() {
    let key = Key::new(Family::Ed25519, "ed25519");
    let mut siege = Siege::begin(World::publishing(vec![key.jwk()]).await).await;
    let token = key.token(&siege.world.claims());
    siege.permit(&token, "Ed25519").await;
    let (input, signature) = split(&token);
    let (r, s) = signature.split_at(32);
    let order = bytes("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed");
    let big_endian: Vec<u8> = s.iter().rev().copied().collect();
    let larger: Vec<u8> = sum(&big_endian, &order).into_iter().rev().collect();
    let attacks = [
        ("S + L", [r, &larger].concat()),
        ("zeroes", vec![0; 64]),
        ("S is 0", [r, &[0; 32]].concat()),
        ("R is 0", [&[0; 32], s].concat()),
        ("S is as large as fits", [r, &[0xff; 32]].concat()),
        ("the other order", [s, r].concat()),
        ("a byte short", signature[..63].to_vec()),
        ("a byte long", [&signature[..], &[0]].concat()),
    ];
    let attacks = attacks.map(|(about, signature)| (about, format!("{input}.{}", base64(&signature))));
    siege.refuse_all("signature_invalid", attacks).await;
    siege.end().await;
}

/// 26
#[tokio::test]
async fn an_rsa_signature_out_of_range_or_form_is_invalid() {
    use base64::Engine as _;
    let mut siege = Siege::usual().await;
    let token = siege.world.token();
    let (input, signature) = split(&token);
    let jwk = siege.world.key.jwk();
    let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let wide = |number: &[u8]| [&[0], number].concat();
    let mut attacks = vec![
        ("nothing", Vec::new()),
        ("one byte", vec![1]),
        ("zero", vec![0; 256]),
        ("one", [vec![0; 255], vec![1]].concat()),
        ("as large as fits", vec![0xff; 256]),
        ("n", modulus.clone()),
        ("n + 1", sum(&modulus, &[vec![0; 255], vec![1]].concat())),
        ("s + n, a byte long", sum(&wide(&signature), &wide(&modulus))),
        ("a byte short", signature[..255].to_vec()),
        ("a byte short in front", signature[1..].to_vec()),
        ("a byte long", [&signature[..], &[0]].concat()),
        ("a byte long in front", wide(&signature)),
        ("twice", [&signature[..], &signature[..]].concat()),
        ("reversed", signature.iter().rev().copied().collect()),
    ];
    let mut second_spelling = sum(&wide(&signature), &wide(&modulus));
    if second_spelling[0] == 0 {
        attacks.push(("s + n", second_spelling.split_off(1)));
    }
    for alg in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        attacks.push((alg, siege.world.key.signature(alg, input.as_bytes())));
    }
    let attacks: Vec<_> = attacks
        .into_iter()
        .map(|(about, signature)| (format!("RS256: {about}"), format!("{input}.{}", base64(&signature))))
        .collect();
    siege.refuse_all("signature_invalid", attacks).await;

    // PSS: PKCS #1 v1.5 under its name, and PSS with other hashes.
    let header = with(siege.world.header(), "alg", json!("PS256"));
    let good = siege.world.key.sign(&header, &siege.world.claims());
    siege.permit(&good, "PS256").await;
    let (input, _) = split(&good);
    for alg in ["RS256", "RS512", "PS384", "PS512"] {
        let signature = siege.world.key.signature(alg, input.as_bytes());
        siege.refuse(&format!("{input}.{}", base64(&signature)), "signature_invalid", &format!("PS256: {alg}")).await;
    }
    siege.end().await;
}

/// 26: what our own library does not sign, written once by another (pyca/cryptography) with a key that was thrown away.
#[tokio::test]
async fn a_signature_over_sha1_or_of_another_salt_is_invalid() {
    let jwk = json!({ "kty": "RSA", "kid": "fixed", "use": "sig", "e": "AQAB", "n": FIXED_MODULUS });
    let issuer_lines = "aliases = [\"https://fixed.example.com/\"]";
    let mut siege = Siege::begin(World::publishing_configured(issuer_lines, vec![jwk]).await).await;
    let token = |alg: &str, signature: &str| {
        let header = format!(r#"{{"alg":"{alg}","kid":"fixed","typ":"at+jwt"}}"#);
        let claims = format!(
            r#"{{"iss":"https://fixed.example.com/","aud":"{AUDIENCE}","exp":4102444800,"sub":"alice","scope":"read"}}"#
        );
        format!("{}.{signature}", signing_input(header.as_bytes(), claims.as_bytes()))
    };
    siege.permit(&token("RS256", FIXED_SHA256), "SHA-256").await;
    siege.permit(&token("PS256", FIXED_SALT_32), "a salt of 32 bytes").await;
    siege.refuse(&token("RS256", FIXED_SHA1), "signature_invalid", "SHA-1").await;
    siege.refuse(&token("PS256", FIXED_SALT_0), "signature_invalid", "no salt").await;
    siege.refuse(&token("RS1", FIXED_SHA1), "algorithm_refused", "SHA-1 by its name").await;
    siege.end().await;
}

const FIXED_MODULUS: &str = "2jYHpIo46eNf8hFXYCa3UcgMJ-R04OR7eT9LZyJXt5eodkL26jxJIygomnNyBNiHiHDiGe4lED0Rjsb_l7UqQcmGtCV2Yj9EF36pv63g41Dhkcb9S6\
    Xv36TUqRnTfcQESPNlwiCiuwMfBO7GQ3vS7iwPPJzwd_A1wuQP4rzMe2qckolzOYjghYDKDYAQAhytdbu7So8aHOy4wNOm5RAxsixy5ynKMODgowEG\
    A5ArzOfPRjUWDdA4xOztHhM9aoznvbdhkRn2fn-beHgGvsHUOfYzKhINkQouidOBdqhCePMe9qcMhsNcE8sz7OGqALTF7ORRLLMJdw6WW4p9CVWuDQ";
const FIXED_SHA256: &str = "Lf35pVklcRkNMzgDQAlHk9pDgsd5964pfwvsFnW-FUjVxWCfkWvi_3e_HzfmZQM8Ho5jdwlw2OedU0ZSN3owEWmXh8bIdhvvEgBgoU7AD-k3V9QxrN\
    JkNm5UMozjvjX90yZX9AmeMwqLXnDH_NZvBWex-Gac2eD5mNcSFBvcIslmVYMFI8mmINbAskcZXFHZf95XOAl11rGPBzAz0x8ncKoZW_nw0STni2Gm\
    Pq-bTbk8MctrFLAVEdwQQe8pCDXB24-O4pmVaSY-uzuzLGb_ECJtMjQJBisJwSA7UAaawm18lOHk3NnPFY-iauHITD6A49hAW0XF-pNzi_n0IW6_Dg";
const FIXED_SHA1: &str = "VBfh5IE91CEmFTGVAkyhLZsS8SZSySF6kbCI0SiJgkVkoZvABQOVU433GF8WcKf-BANzHb326TMcoJdSyBPxs13pIB-frRqAA9TC0fOA780Ra87Fzw\
    fkIs9VcGefJBCZr3F1TVqa7DmiTs_zB2-gk0WIgbOHmf9hqLvhTFpG_2ccYGDw99mDtf6_5BfF0XO0tnjd1z9MYnx5y8QNqiWiaue3yha0DTzbaNX7\
    kc-OPlL4zkxcV0SHgOOuManU3OclPTi4Bhys2g9cQzxmaSCTxphGILfWdtJHQPQvk9FhV7qNt5s7n6WtytN97frWCm-9g5dahdj00AkHyf1PJMr0oQ";
const FIXED_SALT_32: &str = "s26Ng486CvJuioxqdPJvnnZgQixTxNT3VZ5NQcL55lX1-cve3h6UsOYo7MPsXybtYmqC0SiWukNRSBfG1fxjiZ0XeM8uC7td6w79-SKkK-cB3SC1_h\
    JIFmHNswnNcGSFbf2QtBM6AAvlZknheaEdXk681fNeDKaCQCVhG_Hs9g0e0f4eE5E_ntlZD_Bx9AMWuvPKA6qdGvq_vJMFQhT7AMTSC_t2avYmxc6p\
    J-_cqDmgWgc4_0efQd69elV-Eo3LLkznMhGPB-MFxRr07Qef6E7SLYO8eo37wirklkQvRiNM8__9d6sUg6RiTtYcJMmsAhxzAD8SDqezCb_Cm_CMAw";
const FIXED_SALT_0: &str = "Y3pm7N32JczLulDANpaxJXV913yM8wXSfRenZ9itxCsw0Yl0abuOPlM4edntLJIWYhmSO0OhCKPqTOlLrUL7VPVJ2eEmHajzpRdp2WV6Ko2pm7qpYu\
    I1au1ItrHVoKqr4Yj14YIsrSJR--sWj4_ZVyTT7f6RBdOJqWbOKYCgPKvnzgd4Rov8qEFb1JYiNOyKYm8Yrbx3dT91jMtVOmO8s3lkLHfzIl5RMCIE\
    iFq0007cS4Ky8MpGSrmqHnZtZEhi93Pk8kiTIFZKgCJHwuSfZkZm_Hq_5oi2l1Khqq4kBkb5lGaByaau3HBrC4VRU1yZLg8JXK_M5Jb0_A_sfYQ8hw";

/// 27
#[tokio::test]
async fn a_token_that_was_changed_is_invalid() {
    let ec = Key::p256("ec");
    let mut siege = Siege::begin(World::publishing(vec![ec.jwk()]).await).await;
    for key in [siege.world.key, ec] {
        let claims = siege.world.claims();
        let alice = key.token(&claims);
        let bob = key.token(&with(claims.clone(), "sub", json!("bob")));
        siege.permit(&alice, key.kid).await;
        siege.permit(&bob, key.kid).await;
        let parts: Vec<&str> = alice.split('.').collect();
        let others: Vec<&str> = bob.split('.').collect();
        let header = base64(with(key.header(), "x", json!(1)).to_string().as_bytes());
        let spaced = base64(format!(" {claims}").as_bytes());
        let changed = |claim: &str, value: Value| base64(with(claims.clone(), claim, value).to_string().as_bytes());
        let mut attacks = vec![
            ("another's signature".to_owned(), [parts[0], parts[1], others[2]].join(".")),
            ("another's payload".to_owned(), [parts[0], others[1], parts[2]].join(".")),
            ("another header".to_owned(), [&header, parts[1], parts[2]].join(".")),
            ("a blank more".to_owned(), [parts[0], &spaced, parts[2]].join(".")),
            ("more scopes".to_owned(), [parts[0], &changed("scope", json!("read admin")), parts[2]].join(".")),
            ("a longer life".to_owned(), [parts[0], &changed("exp", json!(9_999_999_999_u64)), parts[2]].join(".")),
            ("no signature".to_owned(), [parts[0], parts[1], ""].join(".")),
            ("a signature of nothing".to_owned(), {
                let signature = key.signature(key.family.algorithm(), b"");
                [parts[0], parts[1], &base64(&signature)].join(".")
            }),
            ("a signature of the payload alone".to_owned(), {
                let signature = key.signature(key.family.algorithm(), parts[1].as_bytes());
                [parts[0], parts[1], &base64(&signature)].join(".")
            }),
            ("by another key of that name".to_owned(), Key::new(key.family, "other").named(key.kid).token(&claims)),
        ];
        let (input, signature) = split(&alice);
        for at in [0, 1, signature.len() / 2, signature.len() - 1] {
            for bit in [0, 7] {
                let mut changed = signature.clone();
                changed[at] ^= 1 << bit;
                attacks.push((format!("bit {bit} of byte {at}"), format!("{input}.{}", base64(&changed))));
            }
        }
        // One bit of a letter within a claim's value: the payload stays readable.
        let text = claims.to_string();
        let letter = text.find("alice").unwrap();
        for bit in [0, 1, 2, 5] {
            let mut changed = text.clone().into_bytes();
            changed[letter] ^= 1 << bit;
            attacks.push((format!("bit {bit} of a claim"), [parts[0], &base64(&changed), parts[2]].join(".")));
        }
        siege.refuse_all("signature_invalid", attacks).await;
    }
    siege.end().await;
}

/// 28: the alphabet of a credential (RFC 6750) has `=` at its end alone and no blanks, so that such a token is no credential.
#[tokio::test]
async fn base64url_has_one_spelling() {
    let mut siege = Siege::usual().await;
    let world = &siege.world;
    // Parts whose text has both letters by which the alphabets differ, and whose last letter has unused bits.
    let pad = "~~~~~?????";
    let unused = |text: &dyn Fn(usize) -> String| {
        (0..3).map(text).find(|text| text.len() % 3 == 1 && base64(text.as_bytes()).contains(['-', '_'])).unwrap()
    };
    let header = unused(&|more| with(world.header(), "x", json!(format!("{pad}{}", "x".repeat(more)))).to_string());
    let claims = unused(&|more| with(world.claims(), "x", json!(format!("{pad}{}", "x".repeat(more)))).to_string());
    let good = world.token_of_text(&header, &claims);
    let parts: Vec<String> = good.split('.').map(str::to_owned).collect();
    let mut malformed = Vec::new();
    let mut no_credential = Vec::new();
    for (at, name) in ["header", "payload", "signature"].into_iter().enumerate() {
        let replaced = |part: String| {
            let mut changed = parts.clone();
            changed[at] = part;
            changed.join(".")
        };
        let part = &parts[at];
        let mut other_alphabet = part.replace('-', "+").replace('_', "/");
        if other_alphabet == *part {
            other_alphabet.replace_range(4..5, "+");
        }
        malformed.push((format!("{name}: the other alphabet"), replaced(other_alphabet)));
        // 256 bytes, and the texts above, leave four unused bits in the last letter.
        let last = part.chars().last().unwrap();
        let letters: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).collect();
        let value = letters.iter().position(|letter| *letter == last).unwrap();
        assert_eq!(value % 16, 0, "{name}: the unused bits are zero");
        for more in [1, 2, 8, 15] {
            let changed = format!("{}{}", &part[..part.len() - 1], letters[value + more]);
            malformed.push((format!("{name}: unused bits {more}"), replaced(changed)));
        }
        malformed.push((format!("{name}: of impossible length"), replaced(part[..part.len() - 1].to_owned())));
        malformed.push((format!("{name}: a tilde"), replaced(format!("~{}", &part[1..]))));
        let padded = replaced(format!("{part}=="));
        if name == "signature" {
            malformed.push((format!("{name}: padded"), padded));
            malformed.push((format!("{name}: padded too little"), replaced(format!("{part}="))));
        } else {
            no_credential.push((format!("{name}: padded"), padded));
        }
        for (blank, byte) in [("blank", ' '), ("tab", '\t')] {
            no_credential.push((format!("{name}: a {blank}"), replaced(format!("{}{byte}{}", &part[..4], &part[4..]))));
        }
    }
    siege.permit(&good, "strict").await;
    siege.refuse_all("token_malformed", malformed).await;
    siege.refuse_all("credential_malformed", no_credential).await;
    siege.end().await;
}

/// 29
#[tokio::test]
async fn a_token_has_three_parts() {
    let mut siege = Siege::usual().await;
    let good = siege.world.token();
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let attacks = [
        ("one", header.to_owned()),
        ("an opaque token", "2YotnFZFEjr1zCsicMWpAA".to_owned()),
        ("a short one", "x".to_owned()),
        ("two", format!("{header}.{payload}")),
        ("two, opaque", "ory_at_abc.def".to_owned()),
        ("four", format!("{good}.{signature}")),
        ("four, the last empty", format!("{good}.")),
        ("four, the first empty", format!(".{good}")),
        ("five", format!("{good}.{payload}.{signature}")),
        ("six", format!("{good}.{good}")),
        ("many", ".".repeat(1000)),
        ("a thousand", vec!["e30"; 1000].join(".")),
        ("no header", format!(".{payload}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("no header and no payload", format!("..{signature}")),
        ("nothing but points", "..".to_owned()),
        ("an empty signature alone", format!("{header}..")),
        ("a token in base64url", base64(good.as_bytes())),
        ("the JSON serialization in base64url", base64(json_serialization(&parts).as_bytes())),
    ];
    siege.refuse_all("token_malformed", attacks).await;
    // Its own letters are no letters of a credential (RFC 6750 section 2.1).
    siege.refuse(&json_serialization(&parts), "credential_malformed", "the JSON serialization").await;
    siege.end().await;
}

/// RFC 7515 section 7.2.2.
fn json_serialization(parts: &[&str]) -> String {
    json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string()
}

/// 30
#[tokio::test]
async fn a_token_within_a_token_is_malformed() {
    let mut siege = Siege::usual().await;
    let good = siege.world.token();
    let header = |cty: Value| with(siege.world.header(), "cty", cty).to_string();
    let quoted = Value::from(good.as_str()).to_string();
    let mut attacks = Vec::new();
    for cty in ["JWT", "jwt", "application/jwt", "Application/JWT"] {
        attacks.push((format!("{cty}: a token"), siege.world.token_of_text(&header(json!(cty)), &good)));
        attacks.push((format!("{cty}: a string"), siege.world.token_of_text(&header(json!(cty)), &quoted)));
        let claims = siege.world.claims().to_string();
        attacks.push((format!("{cty}: claims"), siege.world.token_of_text(&header(json!(cty)), &claims)));
    }
    attacks.push(("unsaid".to_owned(), siege.world.token_of_text(&siege.world.header().to_string(), &good)));
    attacks
        .push(("unsaid, a string".to_owned(), siege.world.token_of_text(&siege.world.header().to_string(), &quoted)));
    for cty in [json!(1), json!(null), json!(["JWT"])] {
        let token = siege.world.token_of_text(&header(cty.clone()), &siege.world.claims().to_string());
        attacks.push((format!("cty {cty}"), token));
    }
    let plain = siege.world.token_of_text(&header(json!("json")), &siege.world.claims().to_string());
    siege.refuse_all("token_malformed", attacks).await;
    siege.permit(&plain, "cty json").await;
    siege.end().await;
}
