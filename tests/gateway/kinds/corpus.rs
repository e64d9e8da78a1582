//! The token corpus (`tests/data/README.md`), minted live, and a gateway that knows every issuer in it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bearward::remote::clock::Clock;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::client::{Answer, Client};
use crate::harness::forms::Reply;
use crate::harness::gateway::Served;
use crate::harness::introspection::Introspection;
use crate::harness::mint::{Key, jwk_set, sign_hmac};
use crate::harness::upstream::Upstream;

/// What samples with an HMAC algorithm are authenticated with: as long as the longest hash.
const SECRET: [u8; 64] = [b'k'; 64];

/// How an issuer is set up for a decision.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    Rfc9068,
    Evidence,
    /// The dialect of its own product.
    Preset,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Rfc9068, Self::Evidence, Self::Preset];

    /// Its name under `expect`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rfc9068 => "rfc9068",
            Self::Evidence => "evidence",
            Self::Preset => "preset",
        }
    }
}

/// A token as a provider mints it.
#[derive(Debug, Deserialize)]
pub struct Sample {
    pub id: String,
    pub kind: String,
    pub header: Value,
    pub claims: Value,
    pub config: Setup,
    pub expect: Value,
}

/// How its issuer is configured, in the corpus' own names.
#[derive(Debug, Deserialize)]
pub struct Setup {
    pub issuer: String,
    pub audience: Vec<String>,
    pub client_ids: Vec<String>,
    pub preset: String,
    pub algs: Vec<String>,
    #[serde(default)]
    pub accept_id_tokens: bool,
    #[serde(default)]
    pub audience_optional: bool,
}

/// Every sample that is a JWT.
pub fn samples() -> Vec<Sample> {
    let all: Vec<Value> = serde_json::from_str(include_str!("../../data/token-corpus.json")).unwrap();
    let jwts = all.into_iter().filter(|sample| sample["format"] == "jwt");
    jwts.map(|sample| serde_json::from_value(sample).unwrap()).collect()
}

/// An opaque token, and what its issuer answers about it.
#[derive(Debug, Deserialize)]
pub struct OpaqueSample {
    pub id: String,
    pub kind: String,
    pub token: String,
    pub introspection: Option<Value>,
    pub config: Setup,
    pub expect: Value,
}

/// Every sample that is opaque.
pub fn opaque_samples() -> Vec<OpaqueSample> {
    let all: Vec<Value> = serde_json::from_str(include_str!("../../data/token-corpus.json")).unwrap();
    let opaque = all.into_iter().filter(|sample| sample["format"] == "opaque");
    opaque.map(|sample| serde_json::from_value(sample).unwrap()).collect()
}

impl OpaqueSample {
    /// Sends it through a gateway whose issuer answers so, at the dialect of its product.
    pub async fn ask(&self) -> Answer {
        let (upstream, endpoint) = (Upstream::start().await, Introspection::start().await);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let Setup { issuer, audience, client_ids, preset, .. } = &self.config;
        let dialect = if preset == "forgerock-am" { "forgerock" } else { preset };
        let mut section = format!("[issuers.main]\nissuer = \"{issuer}\"\ndialect = \"{dialect}\"\n");
        section.push_str("jwks = { uri = \"http://127.0.0.1:1/\" }\nrequired_for_ready = false\n");
        if let Some(answer) = &self.introspection {
            let mut answer = answer.clone();
            set_times(&mut answer, i64::try_from(now).unwrap());
            endpoint.know(&self.token, Reply::json(&answer));
            let url = endpoint.url();
            section.push_str(&format!(
                "[issuers.main.introspection]\nendpoint = \"{url}\"\nclient_id = \"gateway\"\nauth_method = \"none\"\n"
            ));
        }
        let policy = if self.config.audience_optional || audience.is_empty() {
            format!("client_ids = {client_ids:?}")
        } else {
            format!("audience = {audience:?}")
        };
        let toml = format!(
            "{section}\n[[routes]]\npath = \"/*\"\nupstream = \"{}\"\npolicy = {{ {policy} }}\n",
            upstream.url()
        );
        let (clock, _hands) = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        let gateway = Served::timed(&toml, clock);
        let mut client = Client::connect(gateway.address()).await;
        let token = &self.token;
        let answer =
            client.ask(format!("GET / HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
        assert_eq!(upstream.requests().len(), usize::from(answer.status == 200), "{}", self.id);
        answer
    }
}

impl Sample {
    /// The lines of `[issuers.NAME]` that say how its tokens are recognised.
    pub fn recognised_by(&self, mode: Mode) -> String {
        let dialect = match (mode, self.config.preset.as_str()) {
            (Mode::Rfc9068, _) => "rfc9068",
            (Mode::Evidence, _) => "evidence",
            (Mode::Preset, "forgerock-am") => "forgerock",
            (Mode::Preset, preset) => preset,
        };
        // Only its own dialect is ever set up so: in the other modes its ID tokens are told from access tokens.
        let accepts = matches!(mode, Mode::Preset) && self.config.accept_id_tokens;
        format!("dialect = \"{dialect}\"\nknown_clients = {:?}\naccept_id_tokens = {accepts}\n", self.config.client_ids)
    }

    /// What the policy of its API asks for.
    pub fn policy(&self) -> String {
        let Setup { audience, client_ids, preset, .. } = &self.config;
        let mut policy = if self.config.audience_optional {
            format!("client_ids = {client_ids:?}")
        } else {
            format!("audience = {audience:?}")
        };
        match preset.as_str() {
            "kubernetes" => policy.push_str(", claims = { \"/kubernetes.io/namespace\" = \"shop\" }"),
            "github-actions" => policy.push_str(", claims = { repository = \"acme/shop\" }"),
            _ => {}
        }
        policy
    }

    /// The audiences it names.
    pub fn audiences(&self) -> Vec<&str> {
        let audience = &self.claims["aud"];
        let one = std::slice::from_ref(audience);
        audience.as_array().map_or(one, Vec::as_slice).iter().filter_map(Value::as_str).collect()
    }

    /// Signs it now.
    fn mint(&self) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = self.claims.clone();
        set_times(&mut claims, i64::try_from(now).unwrap());
        if self.header["alg"].as_str().unwrap().starts_with("HS") {
            return sign_hmac(&SECRET, &self.header, &claims);
        }
        Key::rsa("corpus").sign(&self.header, &claims)
    }

    fn has_secret(&self) -> bool {
        self.config.algs.iter().any(|alg| alg.starts_with("HS"))
    }
}

/// Makes numbers of the times that are written as `+N` and `-N`.
fn set_times(value: &mut Value, now: i64) {
    const TIMES: [&str; 5] = ["exp", "iat", "nbf", "auth_time", "warnafter"];
    for (name, member) in value.as_object_mut().unwrap() {
        if let Some(offset) = member.as_str().filter(|_| TIMES.contains(&name.as_str())) {
            *member = json!(now + offset.parse::<i64>().unwrap());
        } else if member.is_object() {
            set_times(member, now);
        }
    }
}

/// Gateways that know the issuers of some samples and have a route for each sample, and the API behind them.
///
/// There are two of them, because one file cannot name an `iss` twice: issuers with public keys, and those with a secret.
pub struct Lab {
    pub upstream: Upstream,
    public: Option<Served>,
    secret: Option<Served>,
    _files: tempfile::TempDir,
}

impl Lab {
    /// Starts them. `recognised` is what `[issuers.NAME]` says of a sample's issuer, `policy` what its route asks for.
    pub async fn start(
        samples: &[Sample],
        recognised: impl Fn(&Sample) -> String,
        policy: impl Fn(&Sample) -> String,
    ) -> Self {
        let upstream = Upstream::start().await;
        let files = tempfile::tempdir().unwrap();
        let serve = |has_secret: bool| {
            let chosen: Vec<_> = samples.iter().filter(|sample| sample.has_secret() == has_secret).collect();
            let serve = || Served::start(&configuration(&chosen, &upstream, files.path(), &recognised, &policy));
            (!chosen.is_empty()).then(serve)
        };
        let (public, secret) = (serve(false), serve(true));
        Self { upstream, public, secret, _files: files }
    }

    /// Sends a sample to its API.
    pub async fn ask(&self, sample: &Sample) -> Answer {
        let gateway = if sample.has_secret() { &self.secret } else { &self.public };
        let mut client = Client::connect(gateway.as_ref().unwrap().address()).await;
        let (id, token) = (&sample.id, sample.mint());
        client.ask(format!("GET /{id} HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\n\r\n")).await
    }
}

fn configuration(
    samples: &[&Sample],
    upstream: &Upstream,
    files: &Path,
    recognised: &impl Fn(&Sample) -> String,
    policy: &impl Fn(&Sample) -> String,
) -> String {
    let mut toml = format!("[upstreams.api]\nurl = \"{}\"\n\n", upstream.url());
    let mut issuers: Vec<&str> = Vec::new();
    for sample in samples {
        let setup = &sample.config;
        let known = issuers.iter().position(|issuer| *issuer == setup.issuer);
        let number = known.unwrap_or(issuers.len());
        if known.is_none() {
            issuers.push(&setup.issuer);
            let keys = if sample.has_secret() { secret(files) } else { key_set(samples, &setup.issuer, files, number) };
            let (issuer, algorithms, recognised) = (&setup.issuer, &setup.algs, recognised(sample));
            write!(toml, "[issuers.i{number}]\nissuer = {issuer:?}\nalgorithms = {algorithms:?}\n{keys}{recognised}\n")
                .unwrap();
        }
        let (id, policy) = (&sample.id, policy(sample));
        writeln!(toml, "[[routes]]\nname = {id:?}\npath = \"/{id}\"\nupstream = \"api\"").unwrap();
        writeln!(toml, "policy = {{ issuers = [\"i{number}\"], {policy} }}\n").unwrap();
    }
    toml
}

/// Writes the keys of one issuer: one for each `kid` that its samples name.
fn key_set(samples: &[&Sample], issuer: &str, files: &Path, number: usize) -> String {
    let own = samples.iter().filter(|sample| sample.config.issuer == issuer);
    let kids: BTreeSet<&str> = own.filter_map(|sample| sample.header["kid"].as_str()).collect();
    let keys: Vec<Key> = kids.into_iter().map(|kid| Key::rsa("corpus").named(kid.to_owned().leak())).collect();
    let path = files.join(format!("i{number}.jwks"));
    std::fs::write(&path, jwk_set(&keys).to_string()).unwrap();
    format!("jwks = {{ file = {path:?} }}\n")
}

fn secret(files: &Path) -> String {
    let path = files.join("secret");
    std::fs::write(&path, SECRET).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!("hmac_secret = {{ file = {path:?} }}\n")
}
