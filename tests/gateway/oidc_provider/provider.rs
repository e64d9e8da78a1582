//! The provider as a process, and the flows by which a client gets tokens from it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::harness::browser::{Answer, Browser};

const REDIRECT_URI: &str = "http://127.0.0.1/callback";

/// The provider, serving. Dropped, it is gone.
pub struct Provider {
    process: Child,
    output: Mutex<BufReader<ChildStdout>>,
    pub issuer: String,
}

impl Provider {
    /// Starts the provider, or tells aloud why it cannot be had. In CI it must be there.
    pub fn start() -> Option<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), None)
    }

    /// The same, with a client for browsers that log in at that origin, whose access tokens last ten seconds.
    pub fn start_for(origin: &str) -> Option<Self> {
        Self::started(SocketAddr::from(([127, 0, 0, 1], 0)), None, Some(origin))
    }

    /// The same at this address, with the keys of this file, which is made where there is none.
    pub fn start_at(address: SocketAddr, keys: Option<&Path>) -> Option<Self> {
        Self::started(address, keys, None)
    }

    fn started(address: SocketAddr, keys: Option<&Path>, origin: Option<&str>) -> Option<Self> {
        let home = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oidc-provider");
        let result = if home.join("node_modules/oidc-provider").is_dir() {
            Self::spawn(&home, address, keys, origin)
        } else {
            Err("its packages are not installed; `tests/run` does that".to_owned())
        };
        match result {
            Ok(provider) => Some(provider),
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "the suite against a real provider cannot run: {why}");
                // Not by a macro: those are captured, and a test that did nothing must not look like one that did.
                let line = format!("\nSKIPPED: the suite against a real provider: {why}\n");
                std::io::stderr().write_all(line.as_bytes()).unwrap();
                None
            }
        }
    }

    fn spawn(home: &Path, address: SocketAddr, keys: Option<&Path>, origin: Option<&str>) -> Result<Self, String> {
        let mut process = Command::new("node")
            .arg("server.mjs")
            .arg(address.port().to_string())
            .args(keys)
            .envs(origin.map(|origin| ("GATEWAY_ORIGIN", origin)))
            .current_dir(home)
            // It ends when this pipe does, so it outlives no test, however that ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("`node` does not start: {error}"))?;
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let line = said(&mut output);
        let ready: Value = serde_json::from_str(&line)
            .map_err(|_| "it ended before it served; see `node tests/oidc-provider/server.mjs`".to_owned())?;
        Ok(Self { process, output: Mutex::new(output), issuer: ready["issuer"].as_str().unwrap().to_owned() })
    }

    /// Signs with new keys from now on; the former ones stay in the key set.
    pub fn rotate_keys(&self) {
        let mut input = self.process.stdin.as_ref().unwrap();
        input.write_all(b"rotate\n").unwrap();
        assert_eq!(said(&mut self.output.lock().unwrap()), "rotated\n");
    }

    /// An access token for `api` by the client credentials grant (RFC 6749 section 4.4).
    pub async fn machine_token(&self, api: &str, scope: &str) -> String {
        let answer = self.token(&machine_grant(api, scope), &[]).await;
        text(&answer, "access_token")
    }

    /// The same, bound to a key by the DPoP proof (RFC 9449 section 5).
    pub async fn bound_token(&self, api: &str, scope: &str, proof: &str) -> Value {
        self.token(&machine_grant(api, scope), &[("dpop", proof)]).await
    }

    /// Logs a person in as a browser does and redeems the code: what the token endpoint then answers.
    ///
    /// Authorization code with PKCE (RFC 7636), the login and consent pages of the provider in between.
    pub async fn log_in(&self, api: Option<&str>, scope: &str) -> Value {
        let verifier = "a verifier that is long enough for RFC 7636".replace(' ', "-");
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let mut query = vec![
            ("client_id", "web"),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", scope),
            ("prompt", "consent"),
            ("state", "the state"),
            ("nonce", "the nonce"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        query.extend(api.map(|api| ("resource", api)));
        let start = Url::parse_with_params(&format!("{}/auth", self.issuer), query).unwrap();
        let callback = self.through_the_pages(start).await;
        let parameters: std::collections::HashMap<_, _> = callback.query_pairs().collect();
        assert_eq!(parameters["state"], "the state");
        let mut grant = vec![
            ("grant_type", "authorization_code"),
            ("client_id", "web"),
            ("code", &*parameters["code"]),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", &verifier),
        ];
        grant.extend(api.map(|api| ("resource", api)));
        self.token(&grant, &[]).await
    }

    /// What the token endpoint answers to a refresh token (RFC 6749 section 6).
    pub async fn refresh(&self, refresh_token: &str, api: &str) -> Value {
        let grant = [
            ("grant_type", "refresh_token"),
            ("client_id", "web"),
            ("refresh_token", refresh_token),
            ("resource", api),
        ];
        self.token(&grant, &[]).await
    }

    /// Revokes a token of the client `machine` (RFC 7009).
    pub async fn revoke(&self, token: &str) {
        self.revoke_by(&[("client_id", "machine"), ("client_secret", "the secret of machine")], token).await;
    }

    /// The same of the client `web`, which has no secret.
    pub async fn revoke_of_web(&self, token: &str) {
        self.revoke_by(&[("client_id", "web")], token).await;
    }

    async fn revoke_by(&self, client: &[(&str, &str)], token: &str) {
        let endpoint = Url::parse(&format!("{}/token/revocation", self.issuer)).unwrap();
        let mut body = form_urlencoded::Serializer::new(String::new());
        let body = body.append_pair("token", token).extend_pairs(client).finish();
        assert_eq!(Browser::default().post(&endpoint, &[], body).await.status, 200);
    }

    /// From the authorization endpoint over the provider's own pages to the client's callback.
    async fn through_the_pages(&self, start: Url) -> Url {
        let mut browser = Browser::default();
        let mut address = start;
        // Authorization, login, authorization, consent, authorization: more would be a circle.
        for _ in 0..8 {
            if address.as_str().starts_with(REDIRECT_URI) {
                return address;
            }
            let mut answer = browser.send(Method::GET, &address, &[], String::new()).await;
            if answer.status == 200 {
                let form = match () {
                    () if answer.body.contains("name=\"login\"") => "prompt=login&login=ada&password=any",
                    () if answer.body.contains("value=\"consent\"") => "prompt=consent",
                    () => panic!("an unknown page at {address}: {}", answer.body),
                };
                answer = browser.post(&address, &[], form.to_owned()).await;
            }
            assert_eq!(answer.status, 303, "at {address}: {}", answer.body);
            address = address.join(&answer.location()).unwrap();
        }
        panic!("the login does not come to its end");
    }

    async fn token(&self, grant: &[(&str, &str)], headers: &[(&str, &str)]) -> Value {
        let endpoint = Url::parse(&format!("{}/token", self.issuer)).unwrap();
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(grant).finish();
        let Answer { status, body, .. } = Browser::default().post(&endpoint, headers, body).await;
        assert_eq!(status, 200, "the token endpoint says {body}");
        serde_json::from_str(&body).unwrap()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // Either fails only where the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The next line that the provider writes.
fn said(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line
}

/// A member of a token response.
pub fn text(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap_or_else(|| panic!("no {member} in {answer}")).to_owned()
}

fn machine_grant<'a>(api: &'a str, scope: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", "client_credentials"),
        ("client_id", "machine"),
        ("client_secret", "the secret of machine"),
        ("resource", api),
        ("scope", scope),
    ]
}
