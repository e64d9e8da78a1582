//! The gateways, and what is around them.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::harness::binary::Binary;
use crate::harness::redis::Redis;
use crate::issuer::{AUDIENCE, Issuer};
use crate::upstream;

pub const ORIGIN: &str = "https://app.example.com";

/// What seals the sessions.
pub const KEY: [u8; 32] = [7; 32];

/// Gateways of one configuration over one Redis.
pub struct Fleet {
    pub issuer: Issuer,
    pub redis: Redis,
    /// Where they listen; none of them where nobody does.
    pub addresses: Arc<Mutex<Vec<Option<SocketAddr>>>>,
    gateways: Vec<Option<Binary>>,
    config: String,
    /// What those that are gone had counted as lost.
    counted: usize,
    _files: TempDir,
}

impl Fleet {
    /// So many gateways, and an issuer with or without an overlap; none where there is no Redis.
    pub async fn start(count: usize, overlap: bool) -> Option<Self> {
        let redis = Redis::on_disk()?;
        let (issuer, upstream, files) =
            (Issuer::start(overlap).await, upstream::start().await, TempDir::new().unwrap());
        secret(&files.path().join("cookie.key"), &STANDARD.encode(KEY));
        secret(&files.path().join("client.secret"), "secret");
        let config = config(&issuer, &redis, upstream, files.path());
        let gateways: Vec<_> = (0..count).map(|_| Some(Binary::start(&config))).collect();
        let addresses = gateways.iter().map(|gateway| gateway.as_ref().map(|gateway| gateway.address)).collect();
        let addresses = Arc::new(Mutex::new(addresses));
        Some(Self { issuer, redis, addresses, gateways, config, counted: 0, _files: files })
    }

    /// Stops one gently, and starts it again.
    pub async fn restart(&mut self, number: usize) {
        // Whoever spreads the load sends nobody there any more.
        self.addresses.lock().unwrap()[number] = None;
        let gateway = self.gateways[number].take().unwrap();
        self.counted += counted(&gateway).await;
        let (status, written) = tokio::task::spawn_blocking(move || gateway.terminate()).await.unwrap();
        assert!(status.success(), "{status}: {written}");
        self.start_again(number);
    }

    pub async fn kill(&mut self, number: usize) {
        let gateway = self.gateways[number].take().unwrap();
        self.counted += counted(&gateway).await;
        // Dropped, it is killed.
        drop(gateway);
        self.addresses.lock().unwrap()[number] = None;
    }

    pub fn start_again(&mut self, number: usize) {
        let gateway = Binary::start(&self.config);
        self.addresses.lock().unwrap()[number] = Some(gateway.address);
        self.gateways[number] = Some(gateway);
    }

    /// Stops one where it stands; whoever spreads the load sends nobody there any more.
    pub fn stop(&self, number: usize) {
        self.gateways[number].as_ref().unwrap().send("STOP");
        self.addresses.lock().unwrap()[number] = None;
    }

    pub fn go_on(&self, number: usize) {
        let gateway = self.gateways[number].as_ref().unwrap();
        gateway.send("CONT");
        self.addresses.lock().unwrap()[number] = Some(gateway.address);
    }

    /// How many sessions the gateways say were lost.
    pub async fn lost(&self) -> usize {
        let mut lost = self.counted;
        for gateway in self.gateways.iter().flatten() {
            lost += counted(gateway).await;
        }
        lost
    }
}

async fn counted(gateway: &Binary) -> usize {
    gateway.sample("bearward_sessions_total{event=\"lost\",session=\"web\"}").await.unwrap_or_default() as usize
}

/// A file that only its owner reads.
fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn config(issuer: &Issuer, redis: &Redis, upstream: SocketAddr, files: &Path) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
workers = 1
drain = {{ delay = "0s", timeout = "30s" }}
[admin]
listen = "127.0.0.1:0"
[log]
access = {{ sample = 0.0, refused = "sample" }}
[issuers.main]
issuer = "{issuer}"
algorithms = ["ES256"]
[sessions.web]
issuer = "main"
origin = "{ORIGIN}"
client_id = "web"
client_secret = {{ file = "{files}/client.secret" }}
scopes = ["openid", "offline_access"]
cookie = {{ keys = [{{ file = "{files}/cookie.key" }}] }}
[store]
url = "{redis}"
[[routes]]
path = "/*"
upstream = "http://{upstream}"
policy = {{ audience = ["{AUDIENCE}"] }}
session = "web"
"#,
        issuer = issuer.url(),
        files = files.display(),
        redis = redis.url(),
    )
}
