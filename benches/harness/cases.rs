//! The cases of the micro benches: each is one piece of a decision, ready to be run again and again.
//!
//! What is random in them (keys, signatures) is minted once into a directory, so that a case can be run in a process of its
//! own that does nothing else.

mod mint;

use std::fmt;
use std::fs::{self, Permissions};
use std::hint::black_box;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bearward::config::Config;
use bearward::gateway::request_body::Pace;
use bearward::gateway::{Claimed, Gateways, PROVEN_BYTES, Shared, authenticate};
use bearward::policy::claims::NumericDate;
use bearward::policy::decision::{BEFORE_KEY, TokenCase, walk_token};
use bearward::policy::forwarded::{Client, Hop};
use bearward::policy::grant::Granted;
use bearward::policy::headers::{Onward, towards_client, towards_upstream};
use bearward::policy::issuer::IssuerId;
use bearward::policy::jwk::JwkSet;
use bearward::policy::jwt::UnverifiedJwt;
use bearward::policy::pattern::RoutePattern;
use bearward::policy::permit::Presented;
use bearward::policy::principal::Principal;
use bearward::policy::reject::Reject;
use bearward::policy::request::{HeadLimits, RequestView};
use bearward::policy::route::{Route, RouteTable};
use bearward::policy::session::Login;
use bearward::policy::site::SiteId;
use bearward::policy::trace::{RequestId, Sampling, Trace};
use bearward::remote::clock::{Clock, Hands};
use bearward::server::assembly::metrics;
use bearward::telemetry::Telemetry;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use self::mint::{Family, Key};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// The whole decision, from the head to the permit, on a token of about so many bytes that was proven before.
    Proven(usize),
    /// The whole decision on a session's cookie, whose token is the short one of those that were proven before.
    Session,
    /// The whole decision on an opaque token, what its issuer said of it being remembered.
    Opaque,
    /// The decision on a token that was never seen: form, kind, algorithm, time, key, signature, proof, policy.
    Fresh(&'static str),
    /// The check of its signature and nothing else, by `aws-lc-rs` with a parsed key: the floor.
    Floor(&'static str),
    /// The same check by `jsonwebtoken`.
    Library(&'static str),
    /// The decision on a token that is refused before its signature is looked at.
    Expired,
    /// Finding a route among so many.
    Route(usize),
    /// Reading a head by the rules that come before all others.
    Head,
    /// Copying a head, and rewriting it for the upstream and an answer's for the client.
    Rewrite,
}

impl Case {
    pub const ALL: &[Self] = &[
        Self::Proven(700),
        Self::Proven(7000),
        Self::Session,
        Self::Opaque,
        Self::Fresh("RS256"),
        Self::Floor("RS256"),
        Self::Library("RS256"),
        Self::Fresh("PS256"),
        Self::Floor("PS256"),
        Self::Library("PS256"),
        Self::Fresh("ES256"),
        Self::Floor("ES256"),
        Self::Library("ES256"),
        Self::Fresh("ES384"),
        Self::Floor("ES384"),
        Self::Library("ES384"),
        Self::Fresh("ES512"),
        Self::Floor("ES512"),
        Self::Fresh("EdDSA"),
        Self::Floor("EdDSA"),
        Self::Library("EdDSA"),
        Self::Fresh("HS256"),
        Self::Floor("HS256"),
        Self::Library("HS256"),
        Self::Expired,
        Self::Route(10),
        Self::Route(1_000),
        Self::Route(10_000),
        Self::Head,
        Self::Rewrite,
    ];

    /// The case of that name.
    pub fn named(name: &str) -> Self {
        *Self::ALL.iter().find(|case| case.to_string() == name).unwrap()
    }

    /// Whether most of its time goes into a signature.
    pub fn is_signature(self) -> bool {
        matches!(self, Self::Fresh(_) | Self::Floor(_) | Self::Library(_))
    }

    /// The case, with what was minted into `directory`, ready to be run.
    pub fn prepare(self, directory: &Path) -> Box<dyn FnMut()> {
        let read = |name: String| fs::read_to_string(directory.join(name)).unwrap();
        match self {
            Self::Proven(bytes) => proven(directory, &read(format!("proven-{bytes}"))),
            Self::Session => session(directory, &read("proven-700".to_owned())),
            Self::Opaque => opaque(directory),
            Self::Fresh(algorithm) => fresh(directory, algorithm, read(algorithm.to_owned())),
            Self::Floor(algorithm) => floor(algorithm, &read(format!("{algorithm}.keys")), &read(algorithm.to_owned())),
            Self::Library(algorithm) => {
                library(algorithm, &read(format!("{algorithm}.keys")), &read(algorithm.to_owned()))
            }
            Self::Expired => expired(directory, read("expired".to_owned())),
            Self::Route(count) => find_route(directory, count),
            Self::Head => head(&read("RS256".to_owned())),
            Self::Rewrite => rewrite(&read("RS256".to_owned())),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven(bytes) => write!(f, "proven token of {bytes} bytes"),
            Self::Session => f.write_str("session of a proven token"),
            Self::Opaque => f.write_str("opaque token, answered before"),
            Self::Fresh(algorithm) => write!(f, "fresh {algorithm} token"),
            Self::Floor(algorithm) => write!(f, "{algorithm} check alone, aws-lc-rs"),
            Self::Library(algorithm) => write!(f, "{algorithm} check alone, jsonwebtoken"),
            Self::Expired => f.write_str("expired token"),
            Self::Route(count) => write!(f, "route among {count}"),
            Self::Head => f.write_str("reading a head"),
            Self::Rewrite => f.write_str("rewriting the heads"),
        }
    }
}

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://login.example.com/";
const AUDIENCE: &str = "https://api.example.com";
const SECRET: &[u8] = b"a secret of more than 32 bytes, for HS256";

/// Writes the keys and tokens of all cases.
pub fn mint_all(directory: &Path) {
    let write = |name: &str, text: String| fs::write(directory.join(name), text).unwrap();
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
        write(&format!("{algorithm}.keys"), mint::jwk_set(&[key]).to_string());
        write(algorithm, key.sign(&header(algorithm), &claims()));
    }
    write("HS256.keys", String::new());
    write("HS256", mint::sign_hmac(SECRET, &header("HS256"), &claims()));

    let key = Key::rsa("key");
    let mut past = claims();
    past["exp"] = json!(NOW - 3600);
    write("expired", key.token(&past));
    for bytes in [700, 7000_usize] {
        let mut claims = claims();
        for spared in ["jti", "auth_time", "sid"] {
            claims.as_object_mut().unwrap().remove(spared);
        }
        let missing = (bytes - key.token(&claims).len().min(bytes)) / 4 * 3 / "\"group-0000\",".len();
        claims["groups"] = (0..missing).map(|n| format!("group-{n:04}")).collect();
        write(&format!("proven-{bytes}"), key.token(&claims));
    }
    for algorithm in ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "HS256"] {
        write(&format!("{algorithm}.toml"), configuration(algorithm));
    }
    write("secret", String::from_utf8(SECRET.to_vec()).unwrap());
    fs::set_permissions(directory.join("secret"), Permissions::from_mode(0o600)).unwrap();
}

fn configuration(algorithm: &str) -> String {
    let keys = match algorithm {
        "HS256" => "hmac_secret = { file = \"secret\" }".to_owned(),
        _ => format!("jwks = {{ file = \"{algorithm}.keys\" }}"),
    };
    // Where there are public keys, by which ID tokens could be checked.
    let session = match algorithm {
        "HS256" => "",
        _ => {
            "session = \"web\"\n[sessions.web]\nissuer = \"main\"\norigin = \"https://api.example.com\"\n\
              client_id = \"web\"\nclient_secret = { file = \"secret\" }\nscopes = [\"openid\"]"
        }
    };
    format!(
        r#"
[issuers.main]
issuer = "{ISSUER}"
algorithms = ["{algorithm}"]
{keys}
[[routes]]
path = "/orders/{{id}}"
upstream = "http://127.0.0.1:1"
policy = {{ audience = ["{AUDIENCE}"], scopes = ["read:orders"] }}
{session}
"#
    )
}

fn header(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "kid": "key", "typ": "at+jwt" })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": [AUDIENCE], "sub": "auth0|5f7c8ec7c33c6c004bbafe82", "client_id": "web", "iat": NOW - 10,
        "exp": NOW + 3600, "jti": "0b9c6a3e-0f4c-4a5e-8d4f-1f1f8a9d7c11", "auth_time": NOW - 1000, "sid": "b3c1d2e4",
        "scope": "openid profile email read:orders write:orders",
    })
}

/// A request as a client with a token sends it.
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Asked {
    fn new(path: &str, token: &str) -> Self {
        Self::showing(path, ("authorization", format!("Bearer {token}")))
    }

    fn showing(path: &str, credential: (&'static str, String)) -> Self {
        let fields = [
            ("host", "api.example.com".to_owned()),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned()),
            ("accept", "application/json".to_owned()),
            ("accept-language", "en-GB,en;q=0.5".to_owned()),
            ("accept-encoding", "gzip, deflate, br".to_owned()),
            ("referer", "https://app.example.com/".to_owned()),
            ("connection", "keep-alive".to_owned()),
            credential,
        ];
        let fields = fields
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap()));
        Self { method: Method::GET, uri: path.parse().unwrap(), headers: fields.collect() }
    }

    fn view(&self) -> Result<RequestView<'_>, Reject> {
        let limits = HeadLimits { bytes: 32 * 1024, fields: HeadLimits::FIELDS };
        RequestView::new(&self.method, &self.uri, Version::HTTP_11, &self.headers, limits)
    }
}

/// A gateway of one worker, its keys there, without a socket.
struct Started {
    gateways: Gateways,
    _runtime: Runtime,
    _hands: Hands,
}

impl Started {
    fn new(directory: &Path) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self::of(configured(directory, "RS256"), runtime)
    }

    fn of(config: Config, runtime: Runtime) -> Self {
        let telemetry = Arc::new(Telemetry { metrics: metrics(&config).unwrap(), access: None, log: None });
        let (clock, hands) = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW));
        let shared = Shared::new(telemetry, clock, Pace::default(), PROVEN_BYTES, None, runtime.handle()).unwrap();
        let gateways = Gateways::start(config, Arc::new(shared));
        while !gateways.in_force().keys().seen(IssuerId(0)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { gateways, _runtime: runtime, _hands: hands }
    }

    /// The decision, as the gateway takes it, on what needs no waiting.
    fn decide(&self, asked: &Asked) -> Result<(), Reject> {
        self.decided(asked).now_or_never().unwrap()
    }

    async fn decided(&self, asked: &Asked) -> Result<(), Reject> {
        let (gateway, in_force) = (self.gateways.of(0), self.gateways.in_force());
        let view = asked.view()?;
        let (_, route) = in_force.rules().routes.find(&view)?;
        let now = NumericDate::from(self.gateways.shared().clock().wall());
        let mut claimed = Claimed::default();
        let presented = authenticate(&gateway, route, &view, None, now, &mut claimed);
        route.permit(presented.await).map(|_| ())
    }
}

/// The issuer is asked once, over a socket; after that its answer stands.
fn opaque(directory: &Path) -> Box<dyn FnMut()> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let section = format!(
        "[issuers.main.introspection]\nendpoint = \"http://{}\"\nclient_id = \"gateway\"\nauth_method = \"none\"\n",
        listener.local_addr().unwrap()
    );
    let file = tempfile::Builder::new().suffix(".toml").tempfile_in(directory).unwrap();
    fs::write(&file, configuration("RS256") + &section).unwrap();
    let config = Config::load(file.path()).unwrap_or_else(|report| panic!("{}", report.render(false))).config;
    runtime.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut answer = claims();
        for (member, value) in [("active", json!(true)), ("token_type", json!("Bearer"))] {
            answer[member] = value;
        }
        let (answer, mut request) = (answer.to_string(), [0; 4096]);
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let started = Started::of(config, runtime);
    let asked = Asked::new("/orders/7", "QDA8kXJWruhL0WvzCQKuTZcjDa4qNpIwTLhkahwC0xx");
    Builder::new_current_thread().build().unwrap().block_on(started.decided(&asked)).unwrap();
    Box::new(move || started.decide(black_box(&asked)).unwrap())
}

fn proven(directory: &Path, token: &str) -> Box<dyn FnMut()> {
    let started = Started::new(directory);
    let asked = Asked::new("/orders/7", token);
    started.decide(&asked).unwrap();
    Box::new(move || started.decide(black_box(&asked)).unwrap())
}

fn session(directory: &Path, token: &str) -> Box<dyn FnMut()> {
    let started = Started::new(directory);
    let in_force = started.gateways.in_force();
    let granted =
        json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600, "refresh_token": "refresh" });
    let now = started.gateways.shared().clock().wall();
    let granted = Granted::parse(granted.to_string().as_bytes(), now).unwrap();
    let login = Login { issuer: ISSUER.to_owned(), subject: "subject".to_owned(), sid: None, claims: Map::new() };
    let created = in_force.sessions(SiteId(0)).unwrap().create(login, granted, now.into());
    let cookie = created.now_or_never().unwrap().unwrap();
    let asked = Asked::showing("/orders/7", ("cookie", format!("__Host-session={cookie}")));
    started.decide(&asked).unwrap();
    Box::new(move || started.decide(black_box(&asked)).unwrap())
}

/// One issuer's rules and keys, and a route that takes its tokens.
struct Judge {
    config: Config,
    set: JwkSet,
}

impl Judge {
    fn new(directory: &Path, algorithm: &str) -> Self {
        let keys = fs::read(directory.join(format!("{algorithm}.keys"))).unwrap();
        Self { config: configured(directory, algorithm), set: JwkSet::parse(&keys).unwrap_or_default() }
    }

    fn route(&self) -> &Route {
        &self.config.rules.routes.routes()[0]
    }

    /// The decision on a token that is not remembered, from its text to the permit.
    fn decide(&self, token: &str) -> Result<(), Reject> {
        let (issuer, now) = (&self.config.rules.issuers[0], NumericDate::new(NOW as f64).unwrap());
        let jwt = UnverifiedJwt::parse(token)?;
        jwt.contents().extensions()?;
        jwt.contents().claims.issuer()?;
        walk_token(BEFORE_KEY, &TokenCase { contents: jwt.contents(), issuer, now })?;
        let signed = match &issuer.hmac_secret {
            Some(secret) => jwt.verify(issuer, &[secret.key()])?,
            None => {
                let keys = issuer.keys(&self.set, jwt.contents())?.unwrap();
                jwt.verify(issuer, &keys)?
            }
        };
        let principal = Principal::prove(Arc::new(signed), (IssuerId(0), issuer), now);
        self.route().permit(principal.map(Presented::Caller)).map(|_| ())
    }
}

fn configured(directory: &Path, algorithm: &str) -> Config {
    let file = directory.join(format!("{algorithm}.toml"));
    Config::load(&file).unwrap_or_else(|report| panic!("{}", report.render(false))).config
}

fn fresh(directory: &Path, algorithm: &str, token: String) -> Box<dyn FnMut()> {
    let judge = Judge::new(directory, algorithm);
    Box::new(move || judge.decide(black_box(&token)).unwrap())
}

fn expired(directory: &Path, token: String) -> Box<dyn FnMut()> {
    let judge = Judge::new(directory, "RS256");
    Box::new(move || {
        let refused = judge.decide(black_box(&token));
        assert!(matches!(refused, Err(Reject::TokenExpired { .. })));
    })
}

fn floor(algorithm: &str, keys: &str, token: &str) -> Box<dyn FnMut()> {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (input, signature) = (input.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap());
    if algorithm == "HS256" {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        return Box::new(move || hmac::verify(&key, black_box(input.as_bytes()), &signature).unwrap());
    }
    let jwk = &serde_json::from_str::<Value>(keys).unwrap()["keys"][0];
    let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = || [vec![4], member("x"), member("y")].concat();
    let parsed = |kind: &'static dyn VerificationAlgorithm, bytes: Vec<u8>| ParsedPublicKey::new(kind, bytes).unwrap();
    let rsa = |kind| RsaPublicKeyComponents { n: member("n"), e: member("e") }.to_parsed_public_key(kind).unwrap();
    let key = match algorithm {
        "RS256" => rsa(&RSA_PKCS1_2048_8192_SHA256),
        "PS256" => rsa(&RSA_PSS_2048_8192_SHA256),
        "ES256" => parsed(&ECDSA_P256_SHA256_FIXED, point()),
        "ES384" => parsed(&ECDSA_P384_SHA384_FIXED, point()),
        "ES512" => parsed(&ECDSA_P521_SHA512_FIXED, point()),
        "EdDSA" => parsed(&ED25519, member("x")),
        other => panic!("no key is for {other}"),
    };
    Box::new(move || key.verify_sig(black_box(input.as_bytes()), &signature).unwrap())
}

fn library(algorithm: &str, keys: &str, token: &str) -> Box<dyn FnMut()> {
    let key = if algorithm == "HS256" {
        jsonwebtoken::DecodingKey::from_secret(SECRET)
    } else {
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(keys).unwrap();
        jsonwebtoken::DecodingKey::from_jwk(&set.keys[0]).unwrap()
    };
    let algorithm = algorithm.parse().unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (input, signature) = (input.to_owned(), signature.to_owned());
    Box::new(move || {
        assert!(jsonwebtoken::crypto::verify(black_box(&signature), input.as_bytes(), &key, algorithm).unwrap());
    })
}

fn find_route(directory: &Path, count: usize) -> Box<dyn FnMut()> {
    let judge = Judge::new(directory, "RS256");
    let route = |n: usize| Route {
        path: RoutePattern::parse(&format!("/service-{n}/orders/{{id}}")).unwrap(),
        ..judge.route().clone()
    };
    let table = RouteTable::new((0..count).map(route).collect()).unwrap();
    let asked = Asked::new(&format!("/service-{}/orders/7", count / 2), "token");
    // The view borrows what was asked, and both live as long as the process.
    let view = Box::leak(Box::new(asked)).view().unwrap();
    Box::new(move || {
        black_box(table.find(black_box(&view)).unwrap());
    })
}

fn head(token: &str) -> Box<dyn FnMut()> {
    let asked = Asked::new("/orders/7", token);
    Box::new(move || {
        black_box(black_box(&asked).view().unwrap());
    })
}

fn rewrite(token: &str) -> Box<dyn FnMut()> {
    let sent = Asked::new("/orders/7", token).headers;
    let answered = HeaderMap::from_iter([
        (http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (http::header::CONTENT_LENGTH, HeaderValue::from_static("100")),
        (http::header::DATE, HeaderValue::from_static("Wed, 25 Nov 2026 16:00:00 GMT")),
    ]);
    let (request_id, trace) = (RequestId::made([7; 16]), Trace::of(&sent, [7; 32], Sampling::OFF));
    let hop = Hop { peer: IpAddr::from([192, 0, 2, 1]), trusted: false, tls: false };
    let client = Client::of(&sent, hop, |_| false);
    Box::new(move || {
        let mut headers = sent.clone();
        let onward = Onward {
            authority: "api.example.com",
            upstream_host: None,
            identity_names: &[],
            identity: &[],
            keep_authorization: true,
            bearer: None,
            own_cookies: &[],
            hop,
            client,
            request_id: &request_id,
            trace: &trace,
        };
        towards_upstream(black_box(&mut headers), &onward);
        let mut answer = answered.clone();
        towards_client(black_box(&mut answer), &request_id);
        black_box((headers, answer));
    })
}
