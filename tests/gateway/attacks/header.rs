//! B. The rest of the JOSE header: extensions, type, and the form of header and payload. Every token here is signed by the
//! issuer's own key: a good signature never mends what is wrong beside it.

use serde_json::{Value, json};

use super::{Siege, with, with_text};
use crate::harness::mint::base64;
use crate::harness::world::{World, merged};

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
