//! D. The claims: time, issuer, audience, scopes, subject.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Siege, claiming, with, with_text};
use crate::harness::client::Answer;
use crate::harness::issuer::Issuer;
use crate::harness::mint::Key;
use crate::harness::world::{AUDIENCE, World};

/// A token of the good header whose claim has these very characters for its value.
fn claiming_text(siege: &Siege, claim: &str, text: &str) -> String {
    siege.world.token_of_text(&siege.world.header().to_string(), &with_text(siege.world.claims(), claim, text))
}

/// 31
#[tokio::test]
async fn exp_and_iss_must_be_there() {
    let mut siege = Siege::usual().await;
    for changes in [json!({ "exp": null }), json!({ "iss": null }), json!({ "exp": null, "iss": null })] {
        siege.refuse(&siege.world.token_but(&changes), "claims_malformed", &changes.to_string()).await;
    }
    let nothing = siege.world.token_of(&siege.world.header(), &json!({}));
    siege.refuse(&nothing, "claims_malformed", "no claims").await;
    // What may be missing: nothing here needs it.
    for claim in ["nbf", "iat", "sub", "jti", "client_id"] {
        siege.permit(&siege.world.token_but(&with(json!({}), claim, json!(null))), claim).await;
    }
    siege.end().await;
}

/// 32
#[tokio::test]
async fn a_date_is_a_number_of_seconds() {
    let mut siege = Siege::usual().await;
    let now = siege.world.now();
    for claim in ["exp", "nbf", "iat"] {
        for value in [
            json!((now + 60).to_string()),
            json!(""),
            json!("2030-01-01T00:00:00Z"),
            json!(true),
            json!(null),
            json!([now]),
            json!({ "at": now }),
            json!(-1),
            json!(-0.5),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(9_007_199_254_740_994_u64),
            json!(1e300),
        ] {
            let about = format!("{claim} {value}");
            siege.refuse(&claiming(&siege, claim, &value), "claims_malformed", &about).await;
        }
        for text in ["1e400", "-1e400", "NaN", "Infinity", "-Infinity", "0x10", "1.", ".5", "+1", "01"] {
            let about = format!("{claim} {text}");
            siege.refuse(&claiming_text(&siege, claim, text), "token_malformed", &about).await;
        }
    }
    for text in [format!("{}.5", now + 60), format!("{}e0", now + 60), "9007199254740992".to_owned(), "4e9".to_owned()]
    {
        siege.permit(&claiming_text(&siege, "exp", &text), &text).await;
    }
    for claim in ["nbf", "iat"] {
        for text in [format!("{now}.25"), "0".to_owned(), "0.0".to_owned(), "1e9".to_owned()] {
            siege.permit(&claiming_text(&siege, claim, &text), &format!("{claim} {text}")).await;
        }
    }
    siege.end().await;
}

/// Claims at the edges of the time, by the leeway that is in force.
async fn edges(siege: &mut Siege, leeway: u64) {
    let now = siege.world.now();
    for (exp, good) in [
        (json!(now - leeway + 1), true),
        (json!(now as f64 - leeway as f64 + 0.5), true),
        (json!(now - leeway), false),
        (json!(now as f64 - leeway as f64 - 0.5), false),
        (json!(now - leeway - 3600), false),
        (json!(0), false),
    ] {
        let token = claiming(siege, "exp", &exp);
        if good {
            siege.permit(&token, &format!("exp {exp}")).await;
        } else {
            siege.refuse(&token, "token_expired", &format!("exp {exp}")).await;
        }
    }
    for claim in ["nbf", "iat"] {
        for (at, good) in [
            (json!(now + leeway), true),
            (json!(now as f64 + leeway as f64 + 0.5), false),
            (json!(now + leeway + 1), false),
            (json!(now + leeway + 3000), false),
            (json!(9_007_199_254_740_992_u64), false),
        ] {
            let token = claiming(siege, claim, &at);
            if good {
                siege.permit(&token, &format!("{claim} {at}")).await;
            } else {
                siege.refuse(&token, "token_not_yet_valid", &format!("{claim} {at}")).await;
            }
        }
    }
    let both = siege.world.token_but(&json!({ "exp": 1, "nbf": now + 5000 }));
    siege.refuse(&both, "token_expired", "expired and not yet valid").await;
}

/// 33
#[tokio::test]
async fn a_token_is_good_within_its_time_and_the_leeway() {
    let mut siege = Siege::usual().await;
    edges(&mut siege, 30).await;
    siege.end().await;
    for (text, leeway) in [("0s", 0), ("5m", 300)] {
        let world = World::configured(&format!("leeway = \"{text}\""), "").await;
        let mut siege = Siege::begin(world).await;
        edges(&mut siege, leeway).await;
        siege.end().await;
    }
}

/// 33: what has passed once does not pass for ever.
#[tokio::test]
async fn a_token_that_has_passed_expires() {
    let mut siege = Siege::usual().await;
    let short = siege.world.token_but(&json!({ "exp": siege.world.now() + 10 }));
    let early = siege.world.token_but(&json!({ "nbf": siege.world.now() + 31 }));
    siege.permit(&short, "at first").await;
    siege.refuse(&early, "token_not_yet_valid", "at first").await;
    siege.world.hands.advance(Duration::from_millis(39_999));
    siege.permit(&short, "at the last moment").await;
    siege.permit(&early, "in time").await;
    siege.world.hands.advance(Duration::from_millis(1));
    siege.refuse(&short, "token_expired", "a moment later").await;
    siege.end().await;
}

/// 34
#[tokio::test]
async fn an_issuer_is_known_by_every_byte_of_its_name() {
    let mut siege = Siege::usual().await;
    let iss = siege.world.issuer.url();
    let port = iss.rsplit(':').next().unwrap();
    for other in [
        format!("{iss}/"),
        format!("{iss} "),
        format!(" {iss}"),
        format!("{iss}\0"),
        format!("{iss}\n"),
        format!("{iss}0"),
        format!("{iss}/.well-known/openid-configuration"),
        format!("{iss}?"),
        format!("{iss}#"),
        iss[..iss.len() - 1].to_owned(),
        iss.replace("http:", "HTTP:"),
        iss.replace("http:", "https:"),
        iss.replace("http://", ""),
        iss.replace("http://", "http://x@"),
        iss.replace("127.0.0.1", "127.1"),
        iss.replace("127.0.0.1", "localhost"),
        iss.replace("127.0.0.1", "127.0.0.1."),
        format!("http://evil.example.com/{iss}"),
        format!("http://127.0.0.1.evil.example.com:{port}"),
        "https://evil.example.com".to_owned(),
        "main".to_owned(),
        "*".to_owned(),
        String::new(),
    ] {
        siege.refuse(&claiming(&siege, "iss", &json!(other)), "issuer_unknown", &format!("{other:?}")).await;
    }
    for value in [json!(1), json!(null), json!(true), json!([iss]), json!([iss, "x"]), json!({ "iss": iss }), json!([])]
    {
        siege.refuse(&claiming(&siege, "iss", &value), "claims_malformed", &value.to_string()).await;
    }
    siege.end().await;
}

/// 34
#[tokio::test]
async fn keys_are_the_issuers_own() {
    let theirs = Key::rsa("other");
    // Both issuers have a key of that name, and only the other one has a second.
    let other = Issuer::start(&[theirs.named("key-1"), theirs.named("key-2")]).await;
    let sections = format!(
        "[issuers.other]\nissuer = \"{}\"\n\n\
         [[routes]]\nname = \"ours\"\npath = \"/ours\"\nupstream = \"api\"\n\
         policy = {{ issuers = [\"main\"], audience = [\"{AUDIENCE}\"], scopes = [\"read\"] }}\n\n\
         [[routes]]\nname = \"both\"\npath = \"/*\"\nupstream = \"api\"\n\
         policy = {{ issuers = [\"main\", \"other\"], audience = [\"{AUDIENCE}\"], scopes = [\"read\"] }}\n",
        other.url()
    );
    let mut siege = Siege::begin(World::routed("", &sections).await).await;
    let (header, claims) = (siege.world.header(), siege.world.claims());
    let of_other = with(claims.clone(), "iss", json!(other.url()));
    let second = with(header.clone(), "kid", json!("key-2"));
    siege.permit(&theirs.sign(&header, &of_other), "the other issuer's").await;
    siege.permit(&theirs.sign(&second, &of_other), "the other issuer's second").await;

    siege.refuse(&theirs.sign(&header, &claims), "signature_invalid", "ours, signed by the other").await;
    siege.refuse(&siege.world.key.sign(&header, &of_other), "signature_invalid", "the other's, signed by us").await;
    siege.refuse(&theirs.sign(&second, &claims), "key_unknown", "ours, with the other's second key").await;
    // The name is judged before a key is looked for.
    let nobody = with(claims.clone(), "iss", json!("https://evil.example.com"));
    siege.refuse(&theirs.sign(&second, &nobody), "issuer_unknown", "nobody's, with a key that is known").await;
    let unknown = with(header.clone(), "kid", json!("unknown"));
    siege.refuse(&theirs.sign(&unknown, &nobody), "issuer_unknown", "nobody's, with a key that is not").await;

    // A route takes the tokens of its own issuers alone.
    let to_ours = |token: &str| format!("GET /ours HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\r\n");
    siege.permit_request(to_ours(&siege.world.token()), "our own").await;
    siege.refuse_request(to_ours(&theirs.sign(&header, &of_other)), "issuer_unknown", "not of this route").await;
    siege.end().await;
}

/// 35
#[tokio::test]
async fn an_audience_is_one_of_the_policys_byte_for_byte() {
    let mut siege = Siege::usual().await;
    for aud in [
        json!(""),
        json!([]),
        json!(["", ""]),
        json!("https://api.example.com/"),
        json!("https://api.example.co"),
        json!("https://api.example.com.evil.example"),
        json!("https://API.example.com"),
        json!("HTTPS://api.example.com"),
        json!("http://api.example.com"),
        json!("https://api.example.com "),
        json!("https://api.example.com\0"),
        json!("https://api.ex\u{430}mple.com"),
        json!("https://api.example.com,https://other.example.com"),
        json!("https://other.example.com https://api.example.com"),
        json!("api.example.com"),
        json!("*"),
        json!("web"),
        json!(["https://other.example.com", "https://api.example.com/"]),
    ] {
        siege.refuse(&claiming(&siege, "aud", &aud), "audience_wrong", &aud.to_string()).await;
    }
    siege.refuse(&siege.world.token_but(&json!({ "aud": null })), "audience_wrong", "missing").await;
    for aud in [
        json!(1),
        json!(null),
        json!(true),
        json!({ "aud": AUDIENCE }),
        json!([AUDIENCE, 1]),
        json!([AUDIENCE, null]),
        json!([[AUDIENCE]]),
        json!([{ "aud": AUDIENCE }]),
    ] {
        siege.refuse(&claiming(&siege, "aud", &aud), "claims_malformed", &aud.to_string()).await;
    }
    for aud in [
        json!(AUDIENCE),
        json!([AUDIENCE]),
        json!(["https://other.example.com", AUDIENCE]),
        json!([AUDIENCE, AUDIENCE, ""]),
    ] {
        siege.permit(&claiming(&siege, "aud", &aud), &aud.to_string()).await;
    }
    siege.end().await;
}

/// 36
#[tokio::test]
async fn a_scope_is_a_whole_word_between_blanks() {
    let mut siege = Siege::usual().await;
    for scope in [
        json!(""),
        json!(" "),
        json!("write"),
        json!("rea"),
        json!("reads"),
        json!("unread"),
        json!("READ"),
        json!("Read"),
        json!("read:orders"),
        json!("read,write"),
        json!("write,read"),
        json!("read\twrite"),
        json!("read\u{a0}write"),
        json!("read\u{3000}write"),
        json!("read\nwrite"),
        json!("read\0"),
        json!("\"read\""),
        json!("*"),
        json!("r\u{435}ad"),
        json!([]),
        json!(["write"]),
        json!(["read write"]),
        json!(["read "]),
    ] {
        // The upstream is told the scopes, and a control character cannot be told: that is judged before.
        let code = if scope.to_string().contains("\\t") || scope.to_string().contains("\\n") || scope == json!("read\0")
        {
            "claims_malformed"
        } else {
            "scope_insufficient"
        };
        siege.refuse(&claiming(&siege, "scope", &scope), code, &scope.to_string()).await;
    }
    siege.refuse(&siege.world.token_but(&json!({ "scope": null })), "scope_insufficient", "missing").await;
    // One source, whatever else there is.
    let elsewhere = siege.world.token_but(&json!({ "scope": "write", "scp": "read", "permissions": ["read"] }));
    siege.refuse(&elsewhere, "scope_insufficient", "in other claims").await;
    for scope in [json!("read"), json!("read write"), json!("write read"), json!("  read  "), json!(["write", "read"])]
    {
        siege.permit(&claiming(&siege, "scope", &scope), &scope.to_string()).await;
    }
    siege.end().await;
}

/// 36, where the upstream is not told the scopes: a control character separates nothing.
#[tokio::test]
async fn no_other_character_separates_scopes_and_the_challenge_names_all_that_are_needed() {
    let sections = format!(
        "[upstreams.plain]\nurl = \"http://127.0.0.1:1\"\n\n\
         [[routes]]\nname = \"usual\"\npath = \"/*\"\nupstream = \"api\"\npolicy = \"usual\"\n\n\
         [policies.usual]\naudience = [\"{AUDIENCE}\"]\nscopes = [\"read\"]\n\n\
         [[routes]]\nname = \"plain\"\npath = \"/plain\"\nupstream = \"plain\"\npolicy = \"usual\"\n\n\
         [[routes]]\nname = \"all\"\npath = \"/all\"\nupstream = \"plain\"\n\
         policy = {{ audience = [\"{AUDIENCE}\"], scopes = [\"read\", \"admin:all\"] }}\n\n\
         [[routes]]\nname = \"any\"\npath = \"/any\"\nupstream = \"plain\"\n\
         policy = {{ audience = [\"{AUDIENCE}\"], any_scope = [\"ops\", \"admin:all\"] }}\n"
    );
    let mut siege = Siege::begin(World::routed("", &sections).await).await;
    let get = |path: &str, token: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    for scope in ["read\twrite", "read\nwrite", "read\rwrite", "read\0", "\u{b}read", "read\u{85}write"] {
        let token = claiming(&siege, "scope", &json!(scope));
        siege.refuse_request(get("/plain", &token), "scope_insufficient", &format!("{scope:?}")).await;
    }
    siege.end().await;

    let world = World::routed("", &sections).await;
    for (path, scopes) in [("/all", "read admin:all"), ("/any", "ops admin:all")] {
        let authorization = format!("Bearer {}", world.token());
        let answer: Answer = world.ask("GET", path, &[("Authorization", &authorization)]).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "scope_insufficient"), "{path}");
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        let expected = format!(
            "Bearer realm=\"bearward\", error=\"insufficient_scope\", error_description={}, scope=\"{scopes}\"",
            problem["detail"]
        );
        assert_eq!(answer.header("www-authenticate"), Some(expected.as_str()));
    }
}

/// 37
#[tokio::test]
async fn scopes_of_another_type_are_malformed() {
    let mut siege = Siege::usual().await;
    for scope in [
        json!(1),
        json!(null),
        json!(true),
        json!({ "read": true }),
        json!([1]),
        json!(["read", 1]),
        json!(["read", null]),
        json!([["read"]]),
    ] {
        siege.refuse(&claiming(&siege, "scope", &scope), "claims_malformed", &scope.to_string()).await;
    }
    siege.end().await;
}

/// 38
#[tokio::test]
async fn a_subject_is_a_string_that_can_be_told() {
    let mut siege = Siege::usual().await;
    for sub in [json!(1), json!(null), json!(true), json!(["alice"]), json!({ "alice": 1 })] {
        siege.refuse(&claiming(&siege, "sub", &sub), "claims_malformed", &sub.to_string()).await;
    }
    for sub in ["alice\r\nx-user: admin", "alice\n", "alice\0", "\u{1b}[31m", "alice\u{7f}", "alice\u{85}"] {
        siege.refuse(&claiming(&siege, "sub", &json!(sub)), "claims_malformed", &format!("{sub:?}")).await;
    }
    // A client claim is read whether or not this policy asks for it; `jti` is not.
    siege.refuse(&claiming(&siege, "client_id", &json!(1)), "claims_malformed", "client_id").await;
    for value in [json!(1), json!("a\nb")] {
        let seen = siege.permit(&claiming(&siege, "jti", &value), "jti").await;
        assert_eq!(seen.all("x-user"), ["alice"]);
    }
    let seen = siege.permit(&claiming(&siege, "sub", &json!("Jürgen, 50 %")), "not ASCII").await;
    assert_eq!(seen.all("x-user"), ["J%C3%BCrgen, 50 %25"]);
    let seen = siege.permit(&siege.world.token_but(&json!({ "sub": null })), "missing, and nothing needs it").await;
    assert_eq!(seen.all("x-user"), [""; 0]);
    siege.end().await;
}
