//! Dashboard and alerts against a real Prometheus, which scrapes a gateway under load.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::harness::port::Port;
use crate::harness::world::{AUDIENCE, World};
use crate::metrics;

/// Queries that the load below gives no data: what it would take (an opaque token, a login, a certificate, a connection that
/// dies at the right moment) has tests of its own. These are asked of a second target, whose every family has a series.
const RARE: [&str; 7] = [
    "bearward_id_tokens_accepted_total",
    "bearward_introspections_total",
    "bearward_introspection_duration_seconds_bucket",
    "bearward_upstream_retries_total",
    "bearward_sessions_total",
    "bearward_session_refreshes_total",
    "bearward_certificate_expiry_timestamp_seconds",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_has_data_and_an_alert_fires() {
    let Some(program) = program() else { return };
    let gone = Port::reserve();
    let sections = format!(
        "[[routes]]\nname = \"gone\"\npath = \"/gone\"\nupstream = \"http://{}\"\npolicy = \"public\"\n\n\
         [[routes]]\nname = \"shadow\"\npath = \"/shadow\"\nupstream = \"api\"\n\
         policy = {{ audience = [\"{AUDIENCE}\"], mode = \"shadow\" }}\n",
        gone.address()
    );
    let world = World::configured("", &sections).await;
    let every = serve_every_family().await;
    let prometheus = Prometheus::start(&program, &[("gateway", world.gateway.admin_address()), ("every", every.0)]);

    let questions = questions();
    assert!(questions.len() > 25, "{}", questions.len());
    let answered = async {
        let mut open = questions;
        let mut fired = false;
        while !open.is_empty() || !fired {
            load(&world).await;
            let mut left = Vec::new();
            for question in open {
                if !prometheus.has_data(&question).await {
                    left.push(question);
                }
            }
            open = left;
            fired = fired || prometheus.fires("BearwardIdTokenPresented").await;
            if std::env::var_os("SHOW").is_some() {
                eprintln!("{fired} {open:#?}");
            }
        }
    };
    let answered = tokio::time::timeout(Duration::from_secs(400), answered).await;
    assert!(answered.is_ok(), "some query has no data, or the alert does not fire");
}

/// The queries of the dashboard, its variables filled in as Grafana does.
fn questions() -> Vec<String> {
    let text = include_str!("../../charts/bearward/files/dashboard.json");
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let fill = |expression: &str| {
        let job = if RARE.iter().any(|rare| expression.contains(rare)) { "every" } else { "gateway" };
        let filled = expression.replace("$__rate_interval", "30s").replace("$job", job);
        ["$namespace", "$instance", "$route", "$issuer"].iter().fold(filled, |text, name| text.replace(name, ".*"))
    };
    let questions: Vec<_> = targets.map(|target| fill(target["expr"].as_str().unwrap())).collect();
    assert!(questions.iter().all(|question| !question.contains('$')), "{questions:#?}");
    questions
}

/// One request of each kind.
async fn load(world: &World) {
    let id_token = json!({ "aud": "web", "nonce": "n", "scope": null });
    let id_token = world
        .key
        .sign(&json!({ "alg": "RS256", "kid": "key-1" }), &crate::harness::world::merged(world.claims(), &id_token));
    assert_eq!(world.get(&world.token()).await.status, 200);
    assert_eq!(world.get(&id_token).await.status, 401);
    assert_eq!(world.ask("GET", "/shadow", &[]).await.status, 200);
    assert_eq!(world.ask("GET", "/gone", &[]).await.status, 502);
    let mut stray = tokio::net::TcpStream::connect(world.gateway.address()).await.unwrap();
    stray.write_all(b"no HTTP\r\n\r\n").await.unwrap();
    let _ = stray.read_to_end(&mut Vec::new()).await;
}

/// A target of Prometheus that shows a series of every family.
async fn serve_every_family() -> (SocketAddr, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let text = metrics::all();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
            let _ = stream.write_all(&[head.as_bytes(), text.as_bytes()].concat()).await;
        }
    });
    (address, serving)
}

/// The program, or nothing where it is not installed; that is a failure in CI.
fn program() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/prometheus/usr/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(own)
        .chain(std::env::split_paths(&path))
        .map(|at| at.join("prometheus"))
        .find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "prometheus is needed in CI");
        #[allow(clippy::print_stderr, reason = "a part that was not tested must be seen")]
        {
            eprintln!("\nSKIPPED: there is no prometheus; Debian has it in `prometheus`\n");
        }
    }
    found
}

/// A running Prometheus with our alert rules.
struct Prometheus {
    process: Child,
    port: Port,
    client: reqwest::Client,
    _directory: TempDir,
}

impl Prometheus {
    fn start(program: &Path, targets: &[(&str, SocketAddr)]) -> Self {
        let directory = TempDir::new().unwrap();
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/bearward/files/rules.yaml");
        let jobs: String = targets
            .iter()
            .map(|(name, address)| {
                format!("  - job_name: {name}\n    static_configs: [{{ targets: [\"{address}\"] }}]\n")
            })
            .collect();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{rules}]\nscrape_configs:\n{jobs}"
        );
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let port = Port::reserve();
        let process = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={}", port.address()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { process, port, client, _directory: directory }
    }

    /// Whether a query gives anything now.
    async fn has_data(&self, query: &str) -> bool {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer = self.get(&format!("query?query={query}")).await;
        answer["data"]["result"].as_array().is_some_and(|result| !result.is_empty())
    }

    async fn fires(&self, alert: &str) -> bool {
        let answer = self.get("alerts").await;
        let mut alerts = answer["data"]["alerts"].as_array().into_iter().flatten();
        alerts.any(|one| one["labels"]["alertname"] == alert && one["state"] == "firing")
    }

    /// An answer of its API; nothing while it does not serve yet.
    async fn get(&self, what: &str) -> Value {
        let url = format!("http://{}/api/v1/{what}", self.port.address());
        let Ok(response) = self.client.get(url).send().await else { return Value::Null };
        let text = response.text().await.unwrap_or_default();
        let answer = serde_json::from_str(&text).unwrap_or_default();
        let refused: &Value = &answer;
        assert_ne!(refused["status"], "error", "{what}: {text}");
        answer
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
