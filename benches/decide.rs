//! What a decision costs, without sockets: a fresh token per algorithm beside the library's bare signature check, a
//! refusal before the signature, and the look-up of a route among few and many.
//!
//! `cargo bench --bench decide`; the ratios of benches/README.md are between rows of one run.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and criterion's macros are public"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the tests' own minting"
)]
#[path = "../tests/gateway/harness/mint.rs"]
mod mint;

use std::hint::black_box;
use std::sync::Arc;

use bearward::policy::claims::NumericDate;
use bearward::policy::cors::CrossOrigin;
use bearward::policy::decision::{BEFORE_KEY, TokenCase, walk_token};
use bearward::policy::dialect::Dialect;
use bearward::policy::issuer::{Issuer, IssuerId, Recognition};
use bearward::policy::jwk::JwkSet;
use bearward::policy::jwt::{Algorithm, UnverifiedJwt};
use bearward::policy::pattern::RoutePattern;
use bearward::policy::permit::{Policy, Presented};
use bearward::policy::policies::Policies;
use bearward::policy::principal::Principal;
use bearward::policy::reject::Reject;
use bearward::policy::request::{HeadLimits, RequestView};
use bearward::policy::route::{Access, Route, RouteTable, UpstreamId};
use criterion::{Criterion, criterion_group, criterion_main};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use mint::{Family, Key};
use serde_json::{Value, json};

const NOW: f64 = 1_800_000_000.0;
const ISSUER: &str = "https://login.example.com/";

fn issuer() -> Issuer {
    Issuer {
        name: "main".to_owned(),
        spellings: vec![ISSUER.to_owned()],
        recognition: Recognition::Dialect(Dialect::named("rfc9068").unwrap()),
        algorithms: Algorithm::ASYMMETRIC.to_vec(),
        leeway: 30,
        accept_id_tokens: false,
        scope_claim: None,
        known_clients: Vec::new(),
        hmac_secret: None,
        introspection: None,
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": ["https://api.example.com"], "sub": "auth0|5f7c8ec7c33c6c004bbafe82", "client_id": "web",
        "iat": 1_799_999_990, "exp": 1_800_003_600, "jti": "0b9c6a3e-0f4c-4a5e-8d4f-1f1f8a9d7c11",
        "scope": "openid profile email read:orders write:orders", "sid": "b3c1d2e4", "auth_time": 1_799_999_000,
    })
}

fn route(path: &str) -> Route {
    Route {
        name: path.to_owned(),
        hosts: Vec::new(),
        path: RoutePattern::parse(path).unwrap(),
        methods: Vec::new(),
        access: Access::Policies(Policies::new(vec![Arc::new(Policy {
            name: "read".to_owned(),
            issuers: vec![IssuerId(0)],
            audience: vec!["https://api.example.com".to_owned()],
            scopes: vec!["read:orders".to_owned()],
            ..Policy::default()
        })])),
        upstream: UpstreamId(0),
        identity_headers: Arc::new([]),
        keep_authorization: true,
        upstream_host: None,
        stripped: 0,
        keeps_encoded_slash: false,
        cross_origin: CrossOrigin::default(),
        body_bytes: None,
    }
}

/// The whole decision on a token that was never seen before, as the gateway takes it.
fn decide(token: &str, issuer: &Issuer, set: &JwkSet, route: &Route) -> Result<(), Reject> {
    let now = NumericDate::new(NOW).unwrap();
    let jwt = UnverifiedJwt::parse(token)?;
    jwt.contents().extensions()?;
    jwt.contents().claims.issuer()?;
    walk_token(BEFORE_KEY, &TokenCase { contents: jwt.contents(), issuer, now })?;
    let keys = issuer.keys(set, jwt.contents())?.unwrap();
    let signed = jwt.verify(issuer, &keys)?;
    let principal = Principal::prove(Arc::new(signed), (IssuerId(0), issuer), now);
    route.permit(principal.map(Presented::Caller)).map(|_| ())
}

fn fresh_tokens(criterion: &mut Criterion) {
    let (issuer, route) = (issuer(), route("/*"));
    let mut group = criterion.benchmark_group("fresh");
    let families = [
        (Family::Rsa, "RS256"),
        (Family::Rsa, "PS256"),
        (Family::P256, "ES256"),
        (Family::P384, "ES384"),
        (Family::P521, "ES512"),
        (Family::Ed25519, "EdDSA"),
    ];
    for (family, algorithm) in families {
        let key = Key::new(family, "key");
        let set = JwkSet::parse(mint::jwk_set(std::slice::from_ref(&key)).to_string().as_bytes()).unwrap();
        let token = key.sign(&json!({ "alg": algorithm, "kid": "key", "typ": "at+jwt" }), &claims());
        decide(&token, &issuer, &set, &route).unwrap();
        group.bench_function(format!("{algorithm}, whole decision"), |bench| {
            bench.iter(|| decide(black_box(&token), &issuer, &set, &route));
        });
        if let Some(bare) = bare_check(&key, algorithm, &token) {
            assert!(bare());
            group.bench_function(format!("{algorithm}, bare signature check"), |bench| bench.iter(&bare));
        }
    }
    group.finish();
}

/// The library's own check of the signature and nothing else; none for ES512, which it does not have.
fn bare_check<'t>(key: &Key, algorithm: &str, token: &'t str) -> Option<impl Fn() -> bool + use<'t>> {
    let algorithm = algorithm.parse().ok()?;
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.jwk()).ok()?;
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).ok()?;
    let (input, signature) = token.rsplit_once('.')?;
    Some(move || jsonwebtoken::crypto::verify(black_box(signature), input.as_bytes(), &key, algorithm).unwrap())
}

fn refusals(criterion: &mut Criterion) {
    let (issuer, route) = (issuer(), route("/*"));
    let key = Key::new(Family::Rsa, "key");
    let set = JwkSet::parse(mint::jwk_set(std::slice::from_ref(&key)).to_string().as_bytes()).unwrap();
    let mut expired = claims();
    expired["exp"] = json!(1_700_000_000);
    let token = key.token(&expired);
    assert!(matches!(decide(&token, &issuer, &set, &route), Err(Reject::TokenExpired { .. })));
    criterion.bench_function("refused before the signature (expired)", |bench| {
        bench.iter(|| decide(black_box(&token), &issuer, &set, &route));
    });
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for count in [10_usize, 1_000, 10_000] {
        let table =
            RouteTable::new((0..count).map(|n| route(&format!("/service-{n}/orders/{{id}}"))).collect()).unwrap();
        let (method, uri) = (Method::GET, format!("/service-{}/orders/7", count / 2).parse::<Uri>().unwrap());
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("api.example.com"))]);
        let limits = HeadLimits { bytes: 32 * 1024, fields: HeadLimits::FIELDS };
        let view = RequestView::new(&method, &uri, Version::HTTP_11, &headers, limits).unwrap();
        table.find(&view).unwrap();
        group.bench_function(format!("among {count}"), |bench| bench.iter(|| table.find(black_box(&view)).is_ok()));
    }
    group.finish();
}

criterion_group!(benches, fresh_tokens, refusals, routes);
criterion_main!(benches);
