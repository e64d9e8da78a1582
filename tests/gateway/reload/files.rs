//! What becomes of a file that changes while the gateway serves by it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bearward::remote::clock::{Clock, Hands};
use bearward::server::drain::Hangups;
use bearward::server::reload::LOOK_EVERY;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::client::{Answer, Client};
use crate::harness::gateway::Served;
use crate::harness::log;
use crate::harness::mint::{Key, jwk_set, sign_hmac};
use crate::harness::upstream::Upstream;
use crate::harness::world::AUDIENCE;

const GOOD: &str = "bearward_config_reloads_total{result=\"success\"}";
const BAD: &str = "bearward_config_reloads_total{result=\"failure\"}";
const LAST: &str = "bearward_config_last_reload_successful";

/// A gateway that runs by a file. Its clock is in our hands, so that it looks when we say.
struct World {
    directory: TempDir,
    upstream: Upstream,
    gateway: Arc<Served>,
    hands: Hands,
    reloading: tokio::task::JoinHandle<()>,
}

impl World {
    /// `prepare` makes the files, and tells which is the configuration.
    async fn start(prepare: impl Fn(&Path, &Upstream) -> PathBuf) -> Self {
        let (directory, upstream) = (TempDir::new().unwrap(), Upstream::start().await);
        let file = prepare(directory.path(), &upstream);
        let (clock, hands) = Clock::manual(SystemTime::now());
        let (gateway, mut reloads) = Served::of_file(&file, clock);
        let gateway = Arc::new(gateway);
        let served = Arc::clone(&gateway);
        let reloading =
            tokio::spawn(async move { match reloads.run(served.server(), &mut Hangups::listen().unwrap()).await {} });
        Self { directory, upstream, gateway, hands, reloading }
    }

    /// One configuration file, with one public route to this path.
    async fn routed(path: &str) -> Self {
        Self::start(|directory, upstream| {
            let file = directory.join("bearward.toml");
            fs::write(&file, route(upstream, path)).unwrap();
            file
        })
        .await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn get(&self, path: &str, headers: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        Client::connect(self.gateway.address()).await.ask(request).await
    }

    /// Lets time pass, look by look, until a sample has this value.
    async fn until(&self, series: &str, value: f64) {
        let seen = async {
            while self.gateway.sample(series) != Some(value) {
                self.look().await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(30), seen).await;
        assert!(seen.is_ok(), "{series} is {:?}, not {value}", self.gateway.sample(series));
    }

    /// Lets the time of a look come. It may take until after this returns.
    async fn look(&self) {
        self.hands.advance(LOOK_EVERY);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.reloading.abort();
    }
}

/// A configuration of one public route.
fn route(upstream: &Upstream, path: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"only\"\npath = \"{path}\"\nupstream = \"{}\"\npolicy = \"public\"\n",
        upstream.url()
    )
}

#[tokio::test]
async fn a_changed_file_is_taken_into_force_however_it_is_changed() {
    let world = World::routed("/1").await;
    let file = world.path("bearward.toml");
    let renamed = world.path(".bearward.toml.swp");
    let elsewhere = world.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let text = |number: usize| route(&world.upstream, &format!("/{number}"));
    let hash = || world.gateway.in_force().config().hash.clone();
    let changes: [&dyn Fn(&str); 5] = [
        &|text| fs::write(&file, text).unwrap(),
        // As editors save.
        &|text| {
            fs::write(&renamed, text).unwrap();
            fs::rename(&renamed, &file).unwrap();
        },
        &|text| {
            fs::write(elsewhere.join("real.toml"), text).unwrap();
            fs::remove_file(&file).unwrap();
            symlink("elsewhere/real.toml", &file).unwrap();
        },
        &|text| fs::write(elsewhere.join("real.toml"), text).unwrap(),
        &|text| {
            fs::remove_dir_all(&elsewhere).unwrap();
            fs::create_dir(&elsewhere).unwrap();
            fs::write(elsewhere.join("real.toml"), text).unwrap();
        },
    ];
    for (done, change) in changes.iter().enumerate() {
        let before = hash();
        change(&text(done + 2));
        world.until(GOOD, (done + 1) as f64).await;
        assert_eq!(world.get(&format!("/{}", done + 2), "").await.status, 200);
        assert_eq!(world.get(&format!("/{}", done + 1), "").await.code(), "route_unknown");
        let info = |hash: &str| world.gateway.sample(&format!("bearward_config_info{{hash=\"{hash}\"}}"));
        assert_eq!((info(&before), info(&hash())), (None, Some(1.0)));
    }
    assert_eq!(world.gateway.sample(BAD), Some(0.0));
}

#[tokio::test]
async fn a_volume_that_is_exchanged_as_a_whole_is_seen() {
    let fill = |directory: &Path, upstream: &Upstream, number: usize| {
        let version = directory.join(format!("..{number}"));
        fs::create_dir(&version).unwrap();
        fs::write(version.join("bearward.toml"), route(upstream, &format!("/{number}"))).unwrap();
        symlink(format!("..{number}"), directory.join("..data_tmp")).unwrap();
        fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
    };
    let world = World::start(|directory, upstream| {
        fill(directory, upstream, 1);
        symlink("..data/bearward.toml", directory.join("bearward.toml")).unwrap();
        directory.join("bearward.toml")
    })
    .await;
    for number in 2..4 {
        fill(world.directory.path(), &world.upstream, number);
        fs::remove_dir_all(world.path(&format!("..{}", number - 1))).unwrap();
        world.until(GOOD, (number - 1) as f64).await;
        assert_eq!(world.get(&format!("/{number}"), "").await.status, 200);
    }
}

#[tokio::test]
async fn a_bad_file_is_reported_once_and_changes_nothing() {
    let world = World::routed("/1").await;
    let file = world.path("bearward.toml");
    assert_eq!(world.gateway.sample(LAST), Some(1.0));
    for (bad, write) in [
        (1.0, "[server]\nworker = 1\n".to_owned()),
        // Half of a good one.
        (2.0, route(&world.upstream, "/2").split_once("upstream").unwrap().0.to_owned()),
        (3.0, "\u{0}".to_owned()),
    ] {
        fs::write(&file, write).unwrap();
        world.until(BAD, bad).await;
        assert_eq!(world.gateway.sample(LAST), Some(0.0));
        assert_eq!(world.get("/1", "").await.status, 200);
    }
    fs::remove_file(&file).unwrap();
    world.until(BAD, 4.0).await;
    for _ in 0..20 {
        world.look().await;
    }
    assert_eq!((world.gateway.sample(BAD), world.get("/1", "").await.status), (Some(4.0), 200));
    // The file that is in force comes back.
    fs::write(&file, route(&world.upstream, "/1")).unwrap();
    world.until(LAST, 1.0).await;
    assert_eq!((world.gateway.sample(GOOD), world.gateway.sample(BAD)), (Some(1.0), Some(4.0)));
}

#[tokio::test]
async fn a_file_that_is_touched_is_not_read() {
    let world = World::routed("/1").await;
    let file = world.path("bearward.toml");
    for _ in 0..20 {
        // By rename: the looks before may still be under way, and must not find a file of which half is written.
        fs::write(world.path("new"), route(&world.upstream, "/1")).unwrap();
        fs::rename(world.path("new"), &file).unwrap();
        fs::write(world.path("another.toml"), "x").unwrap();
        world.look().await;
    }
    fs::write(&file, route(&world.upstream, "/2")).unwrap();
    world.until(GOOD, 1.0).await;
    assert_eq!(world.get("/2", "").await.status, 200);
}

/// A secret and a key set change in their own files; the configuration's text stays.
#[tokio::test]
async fn the_files_that_the_configuration_names_count() {
    const ISSUER: &str = "https://login.example.com";
    let write = |path: PathBuf, text: &str| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let secrets = ["the first secret, no less than 32 bytes", "another secret, no less than 32 bytes"];
    let keys = [Key::p256("a"), Key::p256("b")];
    let world = World::start(|directory, upstream| {
        write(directory.join("hmac.key"), secrets[0]);
        write(directory.join("keys.json"), &jwk_set(&keys[..1]).to_string());
        let text = format!(
            "[issuers.h]\nissuer = \"{ISSUER}/h\"\nalgorithms = [\"HS256\"]\nhmac_secret = {{ file = \"hmac.key\" }}\n\
             [issuers.k]\nissuer = \"{ISSUER}/k\"\njwks = {{ file = \"keys.json\" }}\n\
             {}[[routes]]\npath = \"/*\"\nupstream = \"{}\"\n\
             policy = {{ issuers = [\"h\", \"k\"], audience = [\"{AUDIENCE}\"] }}\n",
            route(upstream, "/open"),
            upstream.url()
        );
        let file = directory.join("bearward.toml");
        fs::write(&file, text).unwrap();
        file
    })
    .await;
    let claims =
        |issuer: &str| json!({ "iss": format!("{ISSUER}/{issuer}"), "aud": AUDIENCE, "exp": 4_000_000_000_u64 });
    let signed = |secret: &str| sign_hmac(secret.as_bytes(), &json!({ "alg": "HS256", "typ": "at+jwt" }), &claims("h"));
    let tokens = [signed(secrets[0]), signed(secrets[1]), keys[0].token(&claims("k")), keys[1].token(&claims("k"))];
    let answers = async || {
        let mut codes = Vec::new();
        for token in &tokens {
            codes.push(world.get("/orders", &format!("authorization: Bearer {token}\r\n")).await.code());
        }
        codes
    };
    assert_eq!(answers().await, ["", "signature_invalid", "", "key_unknown"]);
    write(world.path("hmac.key"), secrets[1]);
    world.until(GOOD, 1.0).await;
    assert_eq!(answers().await, ["signature_invalid", "", "", "key_unknown"]);
    write(world.path("keys.json"), &jwk_set(&keys[1..]).to_string());
    world.until(GOOD, 2.0).await;
    assert_eq!(world.get("/orders", &format!("authorization: Bearer {}\r\n", tokens[3])).await.status, 200);
    assert_eq!(answers().await, ["signature_invalid", "", "key_unknown", ""]);

    // One that everybody may read is refused, and the one before stays.
    fs::set_permissions(world.path("hmac.key"), fs::Permissions::from_mode(0o644)).unwrap();
    world.until(BAD, 1.0).await;
    assert_eq!(answers().await, ["signature_invalid", "", "key_unknown", ""]);
}

#[tokio::test]
async fn a_new_issuer_that_is_down_does_not_make_a_gateway_unready() {
    let world = World::routed("/1").await;
    let ready = async || Client::connect(world.gateway.admin_address()).await.get("/readyz").await.status;
    assert_eq!(ready().await, 200);
    let issuer = "[issuers.new]\nissuer = \"http://127.0.0.1:9\"\nrequired_for_ready = true\n";
    fs::write(world.path("bearward.toml"), route(&world.upstream, "/1") + issuer).unwrap();
    world.until(GOOD, 1.0).await;
    assert_eq!(ready().await, 200);
}

#[tokio::test]
async fn one_line_says_what_changed_and_what_cannot() {
    log::keep();
    let mark = log::mark();
    let world = World::routed("/1").await;
    let other = route(&world.upstream, "/2")
        .replace("workers = 1", "workers = 3")
        .replacen("127.0.0.1:0", "127.0.0.1:1", 1)
        .replacen("127.0.0.1:0", "127.0.0.1:2", 1);
    fs::write(world.path("bearward.toml"), other).unwrap();
    world.until(GOOD, 1.0).await;
    assert_eq!(world.get("/2", "").await.status, 200, "all else is in force");
    let text = log::since(mark);
    for said in [
        "routes changed: only; [server] changed",
        "option=\"server.listen\"",
        "option=\"server.workers\"",
        "option=\"admin.listen\"",
        "configuration reloaded",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
}
