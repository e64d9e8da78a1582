//! The usual world: an issuer, an upstream, and a gateway between them that takes the issuer's RFC 9068 tokens.

use std::time::{Duration, SystemTime};

use bearward::remote::clock::{Clock, Hands};
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::gateway::Served;
use super::issuer::{Answer as IssuerAnswer, Document, Issuer};
use super::mint::Key;
use super::upstream::Upstream;

/// The audience of the usual policy.
pub const AUDIENCE: &str = "https://api.example.com";

/// The name of the usual key.
const KID: &str = "key-1";

/// Issuer, upstream and gateway. The gateway's clock stands still until `hands` move it.
pub struct World {
    pub issuer: Issuer,
    pub upstream: Upstream,
    pub gateway: Served,
    pub key: Key,
    pub hands: Hands,
    now: u64,
    toml: String,
}

impl World {
    /// The usual policy (`AUDIENCE`, the scope `read`) at `/*`, an identity header `x-user` and the public route `/open`.
    pub async fn start() -> Self {
        Self::configured("", "").await
    }

    /// The same with further lines in the issuer's section, and further sections at the end.
    pub async fn configured(issuer_lines: &str, sections: &str) -> Self {
        Self::routed(issuer_lines, &Self::usual(sections)).await
    }

    /// The usual world whose issuer publishes these JWKs beside its own key.
    pub async fn publishing(jwks: Vec<Value>) -> Self {
        Self::publishing_configured("", jwks).await
    }

    /// The same with further lines in the issuer's section.
    pub async fn publishing_configured(issuer_lines: &str, jwks: Vec<Value>) -> Self {
        Self::began(Self::issuer(jwks).await, issuer_lines, &Self::usual("")).await.settled().await
    }

    /// The usual world whose issuer cannot be reached, with further lines in its section.
    pub async fn start_without_issuer(issuer_lines: &str) -> Self {
        let mut issuer = Self::issuer(Vec::new()).await;
        issuer.down().await;
        Self::began(issuer, issuer_lines, &Self::usual("")).await
    }

    /// The usual world whose issuer holds back its answers until it is told to release them.
    pub async fn start_with_held_keys() -> Self {
        let issuer = Self::issuer(Vec::new()).await;
        issuer.hold();
        Self::began(issuer, "", &Self::usual("")).await
    }

    /// The sections of the usual routes and their policy, and further ones.
    pub fn usual(sections: &str) -> String {
        format!(
            "[[routes]]\nname = \"usual\"\npath = \"/*\"\nupstream = \"api\"\npolicy = \"usual\"\n\n\
             [policies.usual]\naudience = [\"{AUDIENCE}\"]\nscopes = [\"read\"]\n\n\
             [[routes]]\nname = \"open\"\npath = \"/open\"\nupstream = \"api\"\npolicy = \"public\"\n\n{sections}"
        )
    }

    /// The issuer `main` with further lines and the upstream `api`; routes and policies are the test's own.
    pub async fn routed(issuer_lines: &str, sections: &str) -> Self {
        Self::began(Self::issuer(Vec::new()).await, issuer_lines, sections).await.settled().await
    }

    /// Once its keys are there: a test that moves time shall not take that which fetching them has.
    async fn settled(self) -> Self {
        self.gateway.ready().await;
        self
    }

    /// An issuer of the usual key and these.
    async fn issuer(mut jwks: Vec<Value>) -> Issuer {
        jwks.push(Key::rsa(KID).jwk());
        let issuer = Issuer::start(&[]).await;
        issuer.answer(Document::Keys, IssuerAnswer::json(&json!({ "keys": jwks })));
        issuer
    }

    async fn began(issuer: Issuer, issuer_lines: &str, sections: &str) -> Self {
        let upstream = Upstream::start().await;
        let toml = toml(&issuer, &upstream, issuer_lines, sections);
        // A whole second, so that expiry can be met exactly.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let (gateway, hands) = started(&toml, now);
        Self { issuer, upstream, gateway, key: Key::rsa(KID), hands, now, toml }
    }

    /// Stops the gateway, and starts another one of the same configuration this much time after the first one's start.
    pub fn restart(&mut self, seconds: u64) {
        self.now += seconds;
        (self.gateway, self.hands) = started(&self.toml, self.now);
    }

    /// Another gateway of the same configuration, whose clock begins where the first one's did.
    pub fn beside(&self) -> (Served, Hands) {
        started(&self.toml, self.now)
    }

    /// What the gateway's configuration says.
    pub fn toml(&self) -> &str {
        &self.toml
    }

    /// Takes the same configuration into force once more.
    pub fn reload(&self) {
        self.gateway.adopt(&self.toml);
    }

    /// Takes another configuration into force: the issuer `main` with further lines, the upstream `api` and these sections.
    pub fn reroute(&self, issuer_lines: &str, sections: &str) {
        self.gateway.adopt(&toml(&self.issuer, &self.upstream, issuer_lines, sections));
    }

    /// The gateway's time at its start, in seconds since 1970.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The header of a good access token.
    pub fn header(&self) -> Value {
        json!({ "alg": "RS256", "kid": KID, "typ": "at+jwt" })
    }

    /// The claims of a good access token.
    pub fn claims(&self) -> Value {
        json!({
            "iss": self.issuer.url(),
            "aud": AUDIENCE,
            "exp": self.now + 3600,
            "iat": self.now,
            "sub": "alice",
            "client_id": "web",
            "jti": "1",
            "scope": "read write",
        })
    }

    /// A good access token.
    pub fn token(&self) -> String {
        self.key.sign(&self.header(), &self.claims())
    }

    /// A token whose claims are the good ones but for these; null removes one.
    pub fn token_but(&self, changes: &Value) -> String {
        self.key.sign(&self.header(), &merged(self.claims(), changes))
    }

    /// A token whose header is the good one but for these; null removes a member.
    pub fn token_headed(&self, changes: &Value) -> String {
        self.key.sign(&merged(self.header(), changes), &self.claims())
    }

    /// A token of this very header and these very claims, members that are null among them.
    pub fn token_of(&self, header: &Value, claims: &Value) -> String {
        self.token_of_text(&header.to_string(), &claims.to_string())
    }

    /// A token of these very texts, signed with RS256 whatever they say.
    pub fn token_of_text(&self, header: &str, claims: &str) -> String {
        self.key.sign_raw("RS256", header.as_bytes(), claims.as_bytes())
    }

    /// The answer to `GET /orders` with this token, on a connection of its own.
    pub async fn get(&self, token: &str) -> Answer {
        self.ask("GET", "/orders", &[("Authorization", &format!("Bearer {token}"))]).await
    }

    /// The answer to a request without a body, on a connection of its own.
    pub async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut client = Client::connect(self.gateway.address()).await;
        client.ask(format!("{method} {target} HTTP/1.1\r\nHost: gateway\r\n{headers}\r\n")).await
    }

    /// That a good token passes now: a refusal says something only where it does.
    pub async fn passes(&self) {
        let answer = self.get(&self.token()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn toml(issuer: &Issuer, upstream: &Upstream, issuer_lines: &str, sections: &str) -> String {
    format!(
        "[issuers.main]\nissuer = \"{}\"\n{issuer_lines}\n\n\
         [upstreams.api]\nurl = \"{}\"\nidentity_headers = {{ x-user = \"sub\", x-scope = \"scope\" }}\n\n{sections}",
        issuer.url(),
        upstream.url()
    )
}

/// A gateway whose time begins at that second.
fn started(toml: &str, now: u64) -> (Served, Hands) {
    let (clock, hands) = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
    (Served::timed(toml, clock), hands)
}

/// `base` with the members of `changes` set, or removed where they are null.
pub fn merged(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(name);
        } else {
            base[name] = value.clone();
        }
    }
    base
}
