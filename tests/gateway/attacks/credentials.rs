//! A. The credential: none, one, two, in the wrong place, of the wrong form. Decided on the request's head alone.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::{Siege, assert_refused, bearing, request};
use crate::harness::client::Client;
use crate::harness::mint::{base64, signing_input};
use crate::harness::world::World;

/// `GET` of this target over HTTP/2 with these `Authorization` fields.
fn http2(target: &str, authorizations: &[&[u8]]) -> Request<Full<Bytes>> {
    let mut request = Request::get(format!("http://gateway{target}"));
    for authorization in authorizations {
        request = request.header("authorization", *authorization);
    }
    request.body(Full::default()).unwrap()
}

/// 1
#[tokio::test]
async fn no_credential_is_missing() {
    let mut siege = Siege::usual().await;
    siege.refuse_request(request(""), "credential_missing", "no Authorization").await;
    siege.refuse_http2(http2("/orders", &[]), "credential_missing", "no Authorization").await;
    siege.end().await;
}

/// 2
#[tokio::test]
async fn a_scheme_without_a_token_is_malformed() {
    let mut siege = Siege::usual().await;
    for value in ["", " ", "Bearer", "Bearer ", "bearer", "Bearer    ", "Bearer\t"] {
        let lines = format!("Authorization: {value}\r\n");
        siege.refuse_request(request(&lines), "credential_malformed", &format!("{value:?}")).await;
        let over_http2 = http2("/orders", &[value.trim().as_bytes()]);
        siege.refuse_http2(over_http2, "credential_malformed", &format!("{value:?}")).await;
    }
    siege.end().await;
}

/// 3
#[tokio::test]
async fn another_scheme_is_no_credential() {
    let mut siege = Siege::usual().await;
    let token = siege.world.token();
    for scheme in ["Basic", "Digest", "DPoP", "Token", "JWT", "Bearerx", "xBearer", "Bearer:", "Bearer=", "Bear"] {
        for value in [scheme.to_owned(), format!("{scheme} {token}")] {
            let lines = format!("Authorization: {value}\r\n");
            siege.refuse_request(request(&lines), "credential_missing", scheme).await;
            siege.refuse_http2(http2("/orders", &[value.as_bytes()]), "credential_missing", scheme).await;
        }
    }
    siege.refuse_request(request(&format!("Authorization: {token}\r\n")), "credential_missing", "no scheme").await;
    siege.refuse_request(request("Authorization: Basic YTpi\r\n"), "credential_missing", "Basic").await;
    siege.end().await;
}

/// 4
#[tokio::test]
async fn the_case_of_the_scheme_and_the_blanks_after_it_do_not_count() {
    let mut siege = Siege::usual().await;
    let token = siege.world.token();
    for scheme in ["bearer", "BEARER", "bEaReR", "Bearer  "] {
        let lines = format!("authorization:{scheme} {token} \r\n");
        let seen = siege.permit_request(request(&lines), scheme).await;
        assert_eq!(seen.all("x-user"), ["alice"], "{scheme}");
    }
    siege.end().await;
}

/// 5
#[tokio::test]
async fn two_authorization_fields_are_ambiguous() {
    let mut siege = Siege::usual().await;
    let good = format!("Bearer {}", siege.world.token());
    let other = format!("Bearer {}", siege.world.token_but(&json!({ "sub": "bob" })));
    for (first, second) in [
        (good.as_str(), good.as_str()),
        (&good, &other),
        (&good, "Bearer x"),
        (&good, "Basic YTpi"),
        ("Basic YTpi", &good),
        ("Basic YTpi", "Basic YTpi"),
        (&good, ""),
        ("", &good),
    ] {
        for names in [["Authorization", "Authorization"], ["AUTHORIZATION", "authorization"]] {
            let lines = format!("{}: {first}\r\nX-Between: 1\r\n{}: {second}\r\n", names[0], names[1]);
            siege.refuse_request(request(&lines), "credential_ambiguous", "two fields").await;
        }
        let over_http2 = http2("/orders", &[first.as_bytes(), second.as_bytes()]);
        siege.refuse_http2(over_http2, "credential_ambiguous", "two fields").await;
    }
    siege.end().await;
}

/// 6
#[tokio::test]
async fn a_token_elsewhere_is_no_credential() {
    let mut siege = Siege::usual().await;
    let token = siege.world.token();
    for name in
        ["Cookie: access_token", "X-Access-Token", "X-Authorization", "Proxy-Authorization", "X-Forwarded-Access-Token"]
    {
        let line =
            if name.starts_with("Cookie") { format!("{name}={token}") } else { format!("{name}: Bearer {token}") };
        siege.refuse_request(request(&format!("{line}\r\n")), "credential_missing", name).await;
    }
    for name in ["access_token", "access%5Ftoken", "x=1&access_token", "bearer"] {
        let target = format!("/orders?{name}={token}");
        let bare = format!("GET {target} HTTP/1.1\r\nHost: gateway\r\n\r\n");
        siege.refuse_request(bare, "credential_missing", name).await;
        siege.refuse_http2(http2(&target, &[]), "credential_missing", name).await;
    }
    let form = format!("access_token={token}");
    let post = format!(
        "POST /orders HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    siege.refuse_request(post, "credential_missing", "in a form").await;
    siege.end().await;
}

/// 6
#[tokio::test]
async fn a_token_in_the_query_beside_the_header_is_ambiguous() {
    let mut siege = Siege::usual().await;
    let token = siege.world.token();
    let header = format!("Bearer {token}");
    for query in [format!("access_token={token}"), "access_token=".to_owned(), "a=b&access%5ftoken=x".to_owned()] {
        let target = format!("/orders?{query}");
        let both = format!("GET {target} HTTP/1.1\r\nHost: gateway\r\nAuthorization: {header}\r\n\r\n");
        siege.refuse_request(both, "credential_ambiguous", &query).await;
        siege.refuse_http2(http2(&target, &[header.as_bytes()]), "credential_ambiguous", &query).await;
    }
    // The name is compared whole.
    for query in ["access_tokens=x", "xaccess_token=x", "Access_Token=x", "a=access_token"] {
        let both = format!("GET /orders?{query} HTTP/1.1\r\nHost: gateway\r\nAuthorization: {header}\r\n\r\n");
        siege.permit_request(both, query).await;
    }
    siege.end().await;
}

/// 7
#[tokio::test]
async fn a_token_outside_the_alphabet_is_malformed() {
    let mut siege = Siege::usual().await;
    let token = siege.world.token();
    let (before, after) = token.split_at(token.len() / 2);
    let mut values: Vec<Vec<u8>> = b" \t\",;:!#$%&'()*<>?@[\\]^`{|}="
        .iter()
        .map(|byte| [before.as_bytes(), &[*byte], after.as_bytes()].concat())
        .collect();
    values.extend([0x80, 0xa0, 0xe9, 0xff].map(|byte| [before.as_bytes(), &[byte], after.as_bytes()].concat()));
    values.extend(
        [
            format!("{token} x"),
            format!("{token}, Bearer {token}"),
            format!("{token},"),
            format!("\"{token}\""),
            format!("\t{token}"),
            format!("token={token}"),
            format!("={token}"),
            "=".to_owned(),
            format!("{before}\u{e9}{after}"),
        ]
        .map(String::into_bytes),
    );
    for value in values {
        let about = String::from_utf8_lossy(&value).replace(before, "BEFORE").replace(after, "AFTER");
        let authorization = [b"Bearer ", value.as_slice()].concat();
        let bytes =
            [b"GET /orders HTTP/1.1\r\nHost: gateway\r\nAuthorization: ", &authorization[..], b"\r\n\r\n"].concat();
        siege.refuse_request(bytes, "credential_malformed", &about).await;
        siege.refuse_http2(http2("/orders", &[&authorization]), "credential_malformed", &about).await;
    }
    siege.end().await;
}

/// 7: a head with a control byte does not parse, so there is no request to refuse.
#[tokio::test]
async fn a_control_byte_in_the_credential_ends_the_connection() {
    let world = World::start().await;
    world.passes().await;
    for (at, byte) in [0, 1, 0x1b, 0x7f].into_iter().enumerate() {
        let mut client = Client::connect(world.gateway.address()).await;
        let mut bytes = bearing(&world.token()).into_bytes();
        bytes.insert(100, byte);
        let answer = client.ask(bytes).await;
        assert_eq!((answer.status, answer.body.len()), (400, 0), "{byte:#x}");
        assert_eq!(client.rest().await, b"", "{byte:#x}");
        let series = "bearward_connection_errors_total{listener=\"127.0.0.1:0\",reason=\"head_malformed\"}";
        world.gateway.counted(series, (at + 1) as f64).await;
    }
    assert_eq!(world.upstream.requests().len(), 1);
    world.passes().await;
}

/// A good token of exactly that many bytes.
fn token_of_length(world: &World, length: usize) -> String {
    let token = |in_header: usize, in_claims: usize| {
        let mut header = world.header();
        header["pad"] = Value::from("x".repeat(in_header));
        let mut claims = world.claims();
        claims["pad"] = Value::from("x".repeat(in_claims));
        (header, claims)
    };
    let signature = base64(&[0; 256]).len();
    for in_header in 0..3 {
        let (header, claims) = token(in_header, 0);
        let least = signing_input(header.to_string().as_bytes(), claims.to_string().as_bytes()).len() + 1 + signature;
        for in_claims in (length - least) / 4 * 3 - 4..length - least {
            let (header, claims) = token(in_header, in_claims);
            let input = signing_input(header.to_string().as_bytes(), claims.to_string().as_bytes());
            if input.len() + 1 + signature == length {
                return world.key.sign(&header, &claims);
            }
            if input.len() + 1 + signature > length {
                break;
            }
        }
    }
    panic!("no token has {length} bytes");
}

/// 8
#[tokio::test]
async fn a_token_beyond_the_limit_is_too_large_before_it_is_decoded() {
    let mut siege = Siege::usual().await;
    let longest = token_of_length(&siege.world, 16 * 1024);
    siege.permit(&longest, "16 KiB").await;
    let too_long = token_of_length(&siege.world, 16 * 1024 + 1);
    siege.refuse(&too_long, "token_too_large", "a byte more").await;
    // What could not be decoded says the same, so it was not tried.
    siege.refuse(&"a".repeat(16 * 1024 + 1), "token_too_large", "no token, too long").await;
    siege.refuse(&"a".repeat(16 * 1024), "token_malformed", "no token, not too long").await;
    siege.end().await;
}

/// 8
#[tokio::test]
async fn the_limit_of_a_token_is_the_operators() {
    let world = World::configured("", "[server.limits]\ntoken_bytes = \"2KiB\"").await;
    let mut siege = Siege::begin(world).await;
    siege.permit(&token_of_length(&siege.world, 2048), "2 KiB").await;
    siege.refuse(&token_of_length(&siege.world, 2049), "token_too_large", "a byte more").await;
    siege.end().await;
}

/// 9
#[tokio::test]
async fn a_credential_in_the_trailers_is_ignored() {
    let mut siege = Siege::usual().await;
    let token = siege.world.token();
    let chunked = |lines: &str, trailers: &str| {
        format!(
            "POST /orders HTTP/1.1\r\nHost: gateway\r\n{lines}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{trailers}\r\n"
        )
    };
    let authorization = format!("Authorization: Bearer {token}\r\n");
    siege.refuse_request(chunked("", &authorization), "credential_missing", "in the trailers alone").await;
    let announced = format!("Trailer: Authorization\r\n{authorization}");
    siege.refuse_request(chunked("Trailer: Authorization\r\n", &announced), "credential_missing", "announced").await;
    // A second one there does not count either, and does not reach the upstream.
    let other = siege.world.token_but(&json!({ "sub": "mallory" }));
    for trailers in ["Authorization: Bearer x\r\n".to_owned(), format!("Authorization: Bearer {other}\r\n")] {
        let seen = siege.permit_request(chunked(&authorization, &trailers), "in the head, and in the trailers").await;
        assert_eq!((seen.body.as_slice(), seen.all("authorization").len()), (&b"abc"[..], 1));
        assert_eq!(seen.all("x-user"), ["alice"]);
    }
    siege.end().await;
}

/// 10
#[tokio::test]
async fn pipelined_requests_share_nothing() {
    let world = World::start().await;
    let (alice, bob) = (world.token(), world.token_but(&json!({ "sub": "bob" })));
    let mut client = Client::connect(world.gateway.address()).await;
    client.send([bearing(&alice), request(""), bearing(&bob), bearing("x"), bearing(&alice)].concat()).await;
    assert_eq!(client.answer().await.status, 200);
    assert_refused(&client.answer().await, "credential_missing", "the second");
    assert_eq!(client.answer().await.status, 200);
    assert_refused(&client.answer().await, "token_malformed", "the fourth");
    assert_eq!(client.answer().await.status, 200);
    let callers: Vec<_> = world.upstream.requests().iter().map(|request| request.all("x-user").join("+")).collect();
    assert_eq!(callers, ["alice", "bob", "alice"]);
}
