//! D. The claims: time, issuer, audience, scopes, subject, kind of token, proof of possession.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Siege, with, with_text};
use crate::harness::client::Answer;
use crate::harness::issuer::Issuer;
use crate::harness::mint::{Key, base64};
use crate::harness::world::{AUDIENCE, World, merged};

/// A token of the good header whose claim has this value, which may be null.
fn claiming(siege: &Siege, claim: &str, value: &Value) -> String {
    siege.world.token_of(&siege.world.header(), &with(siege.world.claims(), claim, value.clone()))
}

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
