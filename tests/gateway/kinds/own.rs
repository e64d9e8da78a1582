//! What an operator says of an issuer's tokens beside its dialect: a discriminator in all its forms, `accept_id_tokens`,
//! `scope_claim` and `known_clients`.

use serde_json::{Value, json};

use super::{ALLOW, AUDIENCE, ID, LOGOUT, REFRESH, UNKNOWN, decision};
use crate::harness::world::{self, World};

/// Header members and claims beside those of a token without any mark, and what it gets.
type Probe = (Value, Value, &'static str);

/// A token without any mark, with these members beside it; null stays null.
fn token(world: &World, header: &Value, claims: &Value) -> String {
    let with = |mut base: Value, members: &Value| {
        for (name, value) in members.as_object().unwrap() {
            base[name] = value.clone();
        }
        base
    };
    let mut plain = world.header();
    plain.as_object_mut().unwrap().remove("typ");
    world.key.sign(&with(plain, header), &with(world.claims(), claims))
}

/// Sends each probe; the API sees exactly those that are allowed.
async fn probe(world: &World, what: &str, probes: &[Probe]) {
    let mut passed = world.upstream.requests().len();
    for (header, claims, expected) in probes {
        let answer = world.get(&token(world, header, claims)).await;
        assert_eq!(decision(&answer), *expected, "{what}: {header} {claims}");
        passed += usize::from(*expected == ALLOW);
        assert_eq!(world.upstream.requests().len(), passed, "{what}: {header} {claims}");
    }
}

fn claims(claims: Value, expected: &'static str) -> Probe {
    (json!({}), claims, expected)
}

fn header(header: Value, expected: &'static str) -> Probe {
    (header, json!({}), expected)
}

#[tokio::test]
async fn a_discriminator_has_many_forms() {
    let forms: &[(&str, &[Probe])] = &[
        (
            r#"{ claim = "kind", access = ["access", "at"] }"#,
            &[
                claims(json!({ "kind": "access" }), ALLOW),
                claims(json!({ "kind": "at" }), ALLOW),
                claims(json!({ "kind": "Access" }), UNKNOWN),
                claims(json!({ "kind": "access " }), UNKNOWN),
                claims(json!({ "kind": "xaccess" }), UNKNOWN),
                claims(json!({ "kind": "" }), UNKNOWN),
                claims(json!({ "kind": null }), UNKNOWN),
                claims(json!({ "kind": 1 }), UNKNOWN),
                claims(json!({ "kind": ["access"] }), UNKNOWN),
                claims(json!({}), UNKNOWN),
                header(json!({ "kind": "access" }), UNKNOWN),
                // RFC 9068 is an access token also where another mark is described,
                header(json!({ "typ": "at+jwt" }), ALLOW),
                header(json!({ "typ": "application/AT+JWT" }), ALLOW),
            ],
        ),
        (
            r#"{ claim = "kind", deny = ["refresh", "id"] }"#,
            &[
                claims(json!({ "kind": "anything" }), ALLOW),
                claims(json!({ "kind": "refreshing" }), ALLOW),
                claims(json!({ "kind": "refresh" }), UNKNOWN),
                claims(json!({ "kind": "id" }), UNKNOWN),
                // A mark that is not there says nothing.
                claims(json!({}), UNKNOWN),
                // but not where its own mark or shape says that it is none.
                (json!({ "typ": "at+jwt" }), json!({ "kind": "id" }), UNKNOWN),
                (json!({ "typ": "at+jwt" }), json!({ "kind": "other" }), ALLOW),
                (json!({ "typ": "at+jwt" }), json!({}), ALLOW),
            ],
        ),
        (
            r#"{ claim = "kind", access = ["access"], forbid = ["nonce"] }"#,
            &[
                (json!({ "typ": "at+jwt" }), json!({ "nonce": "n" }), UNKNOWN),
                (json!({ "typ": "at+jwt" }), json!({ "kind": "access", "nonce": "n" }), UNKNOWN),
                (json!({ "typ": "at+jwt" }), json!({ "kind": "access" }), ALLOW),
            ],
        ),
        (
            r#"{ header = "typ", deny = ["at+jwt"] }"#,
            &[header(json!({ "typ": "at+jwt" }), UNKNOWN), header(json!({ "typ": "JWT" }), ALLOW)],
        ),
        (
            r#"{ claim = "a/b.c", access = ["x"] }"#,
            &[claims(json!({ "a/b.c": "x" }), ALLOW), claims(json!({ "a": { "b": { "c": "x" } } }), UNKNOWN)],
        ),
        (
            r#"{ header = "cat", access = ["access"] }"#,
            &[
                header(json!({ "cat": "access" }), ALLOW),
                header(json!({ "cat": "id" }), UNKNOWN),
                header(json!({}), UNKNOWN),
                claims(json!({ "cat": "access" }), UNKNOWN),
            ],
        ),
        (
            r#"{ header = "typ", access = ["access", "api+jwt"] }"#,
            &[
                // `typ` is a media type (RFC 7515 section 4.1.9).
                header(json!({ "typ": "Access" }), ALLOW),
                header(json!({ "typ": "application/access" }), ALLOW),
                header(json!({ "typ": "JWT" }), UNKNOWN),
                // Another `+jwt` is made for something else, whatever is described (RFC 8725 section 3.11).
                header(json!({ "typ": "api+jwt" }), UNKNOWN),
            ],
        ),
        (
            // So are the words that it is compared with.
            r#"{ header = "typ", access = ["application/Access"] }"#,
            &[header(json!({ "typ": "access" }), ALLOW), header(json!({ "typ": "JWT" }), UNKNOWN)],
        ),
        (
            r#"{ header = "typ", deny = ["JWT", "application/Refresh"] }"#,
            &[
                header(json!({ "typ": "other" }), ALLOW),
                header(json!({ "typ": "JWT" }), UNKNOWN),
                header(json!({ "typ": "application/jwt" }), UNKNOWN),
                header(json!({ "typ": "refresh" }), UNKNOWN),
            ],
        ),
        (
            r#"{ claim = "jti", match = "prefix", access = ["AT."], deny = ["AT.x"] }"#,
            &[
                claims(json!({ "jti": "AT.1" }), ALLOW),
                claims(json!({ "jti": "AT." }), ALLOW),
                claims(json!({ "jti": "AT.x1" }), UNKNOWN),
                claims(json!({ "jti": "1.AT." }), UNKNOWN),
                claims(json!({ "jti": "at.1" }), UNKNOWN),
            ],
        ),
        (
            r#"{ claim = "jti", match = "suffix", access = ["-at"] }"#,
            &[claims(json!({ "jti": "1-at" }), ALLOW), claims(json!({ "jti": "-at-1" }), UNKNOWN)],
        ),
        (
            r#"{ claim = "jti", match = "contains", access = ["-at_"] }"#,
            &[
                claims(json!({ "jti": "V2_1-at_2" }), ALLOW),
                claims(json!({ "jti": "-at_" }), ALLOW),
                claims(json!({ "jti": "V2_1_at_2" }), UNKNOWN),
            ],
        ),
        (
            r#"{ require = ["scope", "tenant|org"] }"#,
            &[
                claims(json!({ "tenant": "acme" }), ALLOW),
                claims(json!({ "org": ["acme"] }), ALLOW),
                claims(json!({ "tenant": null, "org": "acme" }), ALLOW),
                claims(json!({ "tenant": 0 }), ALLOW),
                claims(json!({ "tenant": false }), ALLOW),
                claims(json!({}), UNKNOWN),
                claims(json!({ "tenant": null }), UNKNOWN),
                claims(json!({ "tenant": "" }), UNKNOWN),
                claims(json!({ "tenant": [] }), UNKNOWN),
                claims(json!({ "tenant": {} }), UNKNOWN),
                claims(json!({ "tenant|org": "acme" }), UNKNOWN),
                // Both groups are needed.
                claims(json!({ "tenant": "acme", "scope": "" }), UNKNOWN),
            ],
        ),
        (
            r#"{ forbid = ["nonce", "acr"] }"#,
            &[
                claims(json!({}), ALLOW),
                claims(json!({ "nonce": "n" }), UNKNOWN),
                claims(json!({ "acr": "0" }), UNKNOWN),
                // Not present at all: not even as null.
                claims(json!({ "nonce": null }), UNKNOWN),
            ],
        ),
        (
            r#"{ claim = "kind", match = "suffix", access = ["-at"], deny = ["x-at"], require = ["jti", "org|tenant"], forbid = ["nonce"] }"#,
            &[
                claims(json!({ "kind": "1-at", "org": "acme" }), ALLOW),
                claims(json!({ "kind": "1-rt", "org": "acme" }), UNKNOWN),
                claims(json!({ "kind": "x-at", "org": "acme" }), UNKNOWN),
                claims(json!({ "kind": "1-at", "org": "acme", "jti": "" }), UNKNOWN),
                claims(json!({ "kind": "1-at" }), UNKNOWN),
                claims(json!({ "kind": "1-at", "org": "acme", "nonce": "n" }), UNKNOWN),
                // What is refused is only labelled: without scopes and with a login claim it looks like an ID token.
                claims(json!({ "kind": "1-at", "org": "acme", "nonce": "n", "scope": "" }), ID),
                claims(json!({ "kind": "1-rt", "org": "acme", "scope": "" }), UNKNOWN),
            ],
        ),
    ];
    for (form, probes) in forms {
        let world = World::configured(&format!("discriminator = {form}"), "").await;
        probe(&world, form, probes).await;
    }
}

const BACK_CHANNEL: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Marks of another kind are believed whatever the operator described.
#[tokio::test]
async fn a_mark_of_another_kind_beats_the_discriminator() {
    let world = World::configured(r#"discriminator = { claim = "kind", access = ["access"] }"#, "").await;
    let with = |mark: Value| {
        let mut claims = json!({ "kind": "access" });
        claims.as_object_mut().unwrap().append(&mut mark.as_object().unwrap().clone());
        claims
    };
    let mut probes = vec![
        claims(with(json!({})), ALLOW),
        claims(with(json!({ "at_hash": "x" })), ID),
        claims(with(json!({ "c_hash": null })), ID),
        claims(with(json!({ "s_hash": "x" })), ID),
        claims(with(json!({ "events": { BACK_CHANNEL: {} } })), LOGOUT),
        claims(with(json!({ "events": { "urn:other": {} } })), UNKNOWN),
        claims(with(json!({ "events": ["login"] })), ALLOW),
        claims(with(json!({ "nonce": "n", "email": "jo@acme.example" })), ALLOW),
        (json!({ "typ": "logout+jwt" }), with(json!({})), LOGOUT),
        (json!({ "typ": "application/logout+JWT" }), with(json!({})), LOGOUT),
        (json!({ "typ": "dpop+jwt" }), with(json!({})), UNKNOWN),
        (json!({ "typ": "token-introspection+jwt" }), with(json!({})), UNKNOWN),
        (json!({ "typ": "JWT" }), with(json!({})), ALLOW),
        // Of two marks that contradict each other the refusing one counts.
        (json!({ "typ": "at+jwt" }), with(json!({ "token_use": "id" })), ID),
        (json!({ "typ": "at+jwt" }), with(json!({ "events": { BACK_CHANNEL: {} } })), LOGOUT),
    ];
    for mark in ["tokenName", "token_use", "typ", "tokenType", "token_type", "tok_type", "type", "purpose"] {
        probes.push(claims(with(json!({ mark: "id_token" })), ID));
        probes.push(claims(with(json!({ mark: "Refresh" })), REFRESH));
        probes.push(claims(with(json!({ mark: "Offline" })), REFRESH));
        probes.push(claims(with(json!({ mark: "Logout" })), LOGOUT));
        probes.push(claims(with(json!({ mark: "Bearer" })), ALLOW));
        probes.push(claims(with(json!({ mark: ["id_token"] })), ALLOW));
    }
    probe(&world, "another kind", &probes).await;
}

/// Dex and the like: ID tokens and tokens without any mark, for the API's own audience; nothing made for another purpose.
#[tokio::test]
async fn id_tokens_are_accepted_only_where_that_is_configured() {
    let id = json!({ "nonce": "n", "at_hash": "x", "email": "jo@acme.example" });
    let strict = World::start().await;
    probe(&strict, "strict", &[claims(id.clone(), ID), claims(json!({}), UNKNOWN)]).await;

    let world = World::configured("accept_id_tokens = true", "").await;
    let probes = [
        claims(id, ALLOW),
        claims(json!({ "tokenName": "id_token" }), ALLOW),
        claims(json!({ "nonce": "n" }), ALLOW),
        claims(json!({}), ALLOW),
        header(json!({ "typ": "JWT" }), ALLOW),
        header(json!({ "typ": "at+jwt" }), ALLOW),
        claims(json!({ "tokenName": "refresh_token" }), REFRESH),
        claims(json!({ "typ": "Offline", "nonce": "n" }), REFRESH),
        header(json!({ "typ": "logout+jwt" }), LOGOUT),
        claims(json!({ "events": { BACK_CHANNEL: {} } }), LOGOUT),
        header(json!({ "typ": "dpop+jwt" }), UNKNOWN),
        header(json!({ "typ": "secevent+jwt" }), UNKNOWN),
        claims(json!({ "events": { "urn:other": {} } }), UNKNOWN),
        // It is the audience that keeps another application's ID token out.
        claims(json!({ "nonce": "n", "aud": "another-app" }), AUDIENCE),
    ];
    probe(&world, "accept_id_tokens", &probes).await;
}

#[tokio::test]
async fn what_the_operators_mark_denies_is_no_id_token_either() {
    let marks = "discriminator = { claim = \"use\", access = [\"api\"], deny = [\"renewal\"] }";
    let world = World::configured(&format!("accept_id_tokens = true\n{marks}"), "").await;
    let probes = [
        claims(json!({ "use": "api" }), ALLOW),
        claims(json!({ "use": "login", "nonce": "n" }), ALLOW),
        claims(json!({ "use": "renewal" }), UNKNOWN),
        claims(json!({ "use": "renewal", "scope": "", "nonce": "n" }), ID),
    ];
    probe(&world, marks, &probes).await;
}

#[tokio::test]
async fn scopes_are_read_where_the_operator_says() {
    const INSUFFICIENT: &str = "scope_insufficient";
    const MALFORMED: &str = "claims_malformed";
    let typed = |claims: Value, expected: &'static str| (json!({ "typ": "at+jwt" }), claims, expected);
    let world = World::configured("scope_claim = \"rights\"", "").await;
    let probes = [
        typed(json!({ "rights": "read" }), ALLOW),
        typed(json!({ "rights": ["write", "read"] }), ALLOW),
        typed(json!({ "rights": "rea" }), INSUFFICIENT),
        typed(json!({ "rights": "write", "scope": "read" }), INSUFFICIENT),
        // `scope` still says "read write", and does not count.
        typed(json!({}), INSUFFICIENT),
        typed(json!({ "rights": 1 }), MALFORMED),
        typed(json!({ "rights": [1] }), MALFORMED),
    ];
    probe(&world, "scope_claim", &probes).await;

    // What is evidence of an access token is read there too.
    let world = World::configured("dialect = \"evidence\"\nscope_claim = \"rights\"", "").await;
    let probes = [claims(json!({ "rights": "read" }), ALLOW), claims(json!({}), UNKNOWN)];
    probe(&world, "evidence", &probes).await;
}

/// Under `evidence` the audience tells an ID token from an access token, so a client's id never counts as one.
#[tokio::test]
async fn a_known_client_is_no_audience() {
    let api = world::AUDIENCE;
    let routes =
        format!("[[routes]]\npath = \"/*\"\nupstream = \"api\"\npolicy = {{ audience = [\"{api}\", \"web\"] }}\n");
    let world = World::routed("dialect = \"evidence\"\nknown_clients = [\"web\", \"batch\"]", &routes).await;
    let probes = [
        claims(json!({}), ALLOW),
        claims(json!({ "aud": ["web", api] }), ALLOW),
        claims(json!({ "aud": "web" }), AUDIENCE),
        claims(json!({ "aud": ["web", "batch"] }), AUDIENCE),
        claims(json!({ "aud": [] }), AUDIENCE),
        claims(json!({ "aud": "web", "nonce": "n" }), UNKNOWN),
        // Without scopes it looks like what it is.
        claims(json!({ "aud": "web", "scope": "" }), ID),
        claims(json!({ "aud": ["web", "batch"], "scope": "" }), ID),
        claims(json!({ "aud": ["web", api], "scope": "" }), UNKNOWN),
        claims(json!({ "client_id": null, "scope": "read" }), "claims_malformed"),
        header(json!({ "typ": "at+jwt" }), ALLOW),
        // Not even where the header says that it is an access token.
        (json!({ "typ": "at+jwt" }), json!({ "aud": "web" }), AUDIENCE),
    ];
    probe(&world, "known_clients", &probes).await;

    let world = World::routed("dialect = \"evidence\"", &routes).await;
    probe(&world, "no known clients", &[claims(json!({ "aud": "web" }), ALLOW)]).await;
    // Where a mark tells the kind, the audience is what the policy says it is.
    let world = World::routed("known_clients = [\"web\"]", &routes).await;
    let typed = (json!({ "typ": "at+jwt" }), json!({ "aud": "web" }), ALLOW);
    probe(&world, "rfc9068", &[typed]).await;
}
