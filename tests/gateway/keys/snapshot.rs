//! The snapshot of an issuer's keys: what it holds, when it serves, and when it is not believed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bearward::policy::reject::Code;
use bearward::remote::jwks::source::{KeySource, Origin};
use bearward::remote::jwks::{Provenance, Standing};
use bearward::telemetry::labels::{FetchResult, FetchTrigger};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::engine::{COOLDOWN, ID, MAX_STALE, REFRESH, START, World, patiently, source};
use crate::harness::issuer::{Answer, Document, Issuer};
use crate::harness::log;
use crate::harness::mint::{Key, jwk_set, unusable_jwks};

const HOUR: Duration = Duration::from_secs(3600);

/// A directory of ours with a place for a snapshot.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("main.jwks")
    }

    /// The issuer as it is configured here.
    fn source(&self, issuer: &Issuer) -> KeySource {
        let origin = Origin::Discovery(issuer.url_of(Document::Discovery).parse().unwrap());
        KeySource { snapshot: Some(self.path()), ..source(&issuer.url(), origin) }
    }

    /// What stands there, once it is what is awaited: it is written beside everything else.
    async fn written(&self, awaited: impl Fn(&Value) -> bool) -> Value {
        written(&self.path(), awaited).await
    }

    /// A snapshot of `a`, as the engine writes it, fetched at [`START`].
    async fn filled(&self, issuer: &Issuer) -> Value {
        let mut world = World::start_with(self.source(issuer));
        world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
        self.written(|_| true).await
    }

    fn write(&self, document: &Value) {
        fs::write(self.path(), document.to_string()).unwrap();
        self.set_mode(0o600);
    }

    fn set_mode(&self, mode: u32) {
        fs::set_permissions(self.path(), Permissions::from_mode(mode)).unwrap();
    }
}

async fn written(path: &Path, awaited: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            // The name leads to a whole document or to nothing, at every moment.
            let found = fs::read(path).ok().map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap());
            if let Some(document) = found.filter(&awaited) {
                return document;
            }
            tokio::task::yield_now().await;
        }
    };
    patiently(look).await
}

fn standing(from: Provenance, age: Duration, keys: usize) -> Option<Standing> {
    Some(Standing { from, age, keys })
}

/// Public keys, of whom, from where and since when; nothing that was private or secret; for us alone.
#[tokio::test]
async fn a_snapshot_holds_the_usable_public_keys_and_where_they_are_from() {
    let issuer = Issuer::start(&[]).await;
    let (rsa, ec, ed) = (Key::rsa("r"), Key::p256("e"), Key::new(crate::harness::mint::Family::Ed25519, "d"));
    let mut keys = unusable_jwks();
    keys.extend([rsa.jwk(), ec.jwk(), ed.jwk()]);
    // A member that only a private key has: the whole key is left out.
    let mut private = Key::p256("private").jwk();
    private["d"] = json!("c2VjcmV0LXNjYWxhcg");
    keys.push(private);
    keys.push(json!({ "kty": "oct", "kid": "shared", "k": "c2hhcmVkLXNlY3JldA" }));
    issuer.answer(Document::Keys, Answer::json(&json!({ "keys": keys })));
    let place = Place::new();
    let mut world = World::start_with(place.source(&issuer));
    world.expect(FetchTrigger::Start, FetchResult::Success, 3).await;

    let document = place.written(|_| true).await;
    let kept = |key: Key, alg: Option<&str>| {
        let mut jwk = key.jwk();
        jwk.as_object_mut().unwrap().remove("use");
        if let Some(alg) = alg {
            jwk["alg"] = json!(alg);
        }
        jwk
    };
    let expected = json!({
        "format": "bearward jwks snapshot 1",
        "issuer": issuer.url(),
        "source": issuer.url_of(Document::Discovery),
        "authorities": "of the system",
        "fetched": START.as_secs(),
        "keys": [kept(rsa, None), kept(ec, Some("ES256")), kept(ed, Some("EdDSA"))],
    });
    assert_eq!(document, expected);
    let metadata = fs::metadata(place.path()).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o600);
    let names: Vec<_> = fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["main.jwks"], "nothing is left beside it");
}

/// The keys of every family come back as what they were.
#[tokio::test]
async fn keys_of_every_kind_come_back() {
    let families = crate::harness::mint::Family::ALL;
    let keys = families.map(|family| Key::new(family, family.algorithm()));
    let mut issuer = Issuer::start(&keys).await;
    let place = Place::new();
    let mut world = World::start_with(place.source(&issuer));
    world.expect(FetchTrigger::Start, FetchResult::Success, keys.len()).await;
    place.written(|_| true).await;
    issuer.down().await;
    let later = World::start_with(place.source(&issuer));
    let (fetched, restored) = (world.sets.current(ID).unwrap(), later.sets.current(ID).unwrap());
    assert_eq!(restored.to_json(), fetched.to_json());
    for key in keys {
        assert_eq!(later.ask(key.kid).await, Ok(()), "{}", key.kid);
    }
}

#[tokio::test]
async fn a_gateway_that_starts_while_the_issuer_is_down_serves_from_it() {
    let mut issuer = Issuer::start(&[Key::p256("a")]).await;
    let place = Place::new();
    place.filled(&issuer).await;
    issuer.down().await;

    let mut world = World::start_after(HOUR, place.source(&issuer));
    // All of this holds before anything was asked of the issuer.
    assert!(world.sets.seen(ID));
    assert_eq!(world.ask("a").await, Ok(()));
    assert_eq!(world.sets.standing(ID), standing(Provenance::Snapshot, HOUR, 1));
    world.expect_restored(1, Duration::ZERO).await;
    world.expect(FetchTrigger::Start, FetchResult::Unreachable, 1).await;
    assert_eq!(world.ask("b").await, Err(Code::KeysUnavailable), "it may be good");
    assert_eq!(world.ask("a").await, Ok(()));

    issuer.up();
    issuer.rotate(&[Key::p256("b")]);
    world.hands.advance(COOLDOWN);
    assert_eq!(world.ask("b").await, Ok(()));
    assert_eq!(world.ask("a").await, Err(Code::KeyUnknown), "it was withdrawn");
    assert_eq!(world.sets.standing(ID), standing(Provenance::Issuer, Duration::ZERO, 1));
    place.written(|document| document["keys"][0]["kid"] == "b").await;
}

/// Each good fetch makes the snapshot as young as the set, also where the set is the same.
#[tokio::test]
async fn a_snapshot_is_as_young_as_the_last_good_fetch() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let place = Place::new();
    let mut world = World::start_with(place.source(&issuer));
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    world.refresh(FetchResult::Success, 1).await;
    place.written(|document| document["fetched"] == (START + REFRESH).as_secs()).await;
    issuer.answer(Document::Keys, Answer::Status(500));
    world.refresh(FetchResult::Status, 1).await;
    let later = World::start_after(REFRESH * 2, place.source(&issuer));
    assert_eq!(later.sets.standing(ID), standing(Provenance::Snapshot, REFRESH, 1));
}

/// The time before the start counts, and the wall clock is asked for it only then.
#[tokio::test]
async fn its_age_counts_toward_max_stale() {
    let mut issuer = Issuer::start(&[Key::p256("a")]).await;
    let place = Place::new();
    place.filled(&issuer).await;
    issuer.down().await;

    let mut world = World::start_after(MAX_STALE - Duration::from_secs(10), place.source(&issuer));
    world.expect_restored(1, Duration::ZERO).await;
    world.expect(FetchTrigger::Start, FetchResult::Unreachable, 1).await;
    world.hands.set_wall(std::time::UNIX_EPOCH);
    world.hands.advance(Duration::from_millis(9999));
    assert_eq!(world.ask("a").await, Ok(()));
    world.hands.advance(Duration::from_millis(1));
    assert_eq!(world.ask("a").await, Err(Code::KeysUnavailable));
    assert_eq!(world.sets.standing(ID), standing(Provenance::Snapshot, MAX_STALE, 0));
    assert!(world.sets.seen(ID), "a later outage does not make it unready");
}

/// Each way in which a snapshot can be somebody else's, of another day, or broken. None serves; the next good fetch puts a
/// good one in its place.
#[tokio::test]
async fn what_is_not_believed_is_replaced() {
    log::keep();
    let mut issuer = Issuer::start(&[Key::p256("a")]).await;
    let good = {
        let place = Place::new();
        place.filled(&issuer).await
    };
    let with = |member: &str, value: Value| {
        let mut document = good.clone();
        document[member] = value;
        document
    };
    let at = |seconds: i64| with("fetched", json!(START.as_secs().cast_signed() + seconds));
    let day = i64::try_from(MAX_STALE.as_secs()).unwrap();
    let secret = json!([{ "kty": "oct", "kid": "a", "k": "AAAA" }]);
    for (name, document, mode, cause) in [
        ("group", good.clone(), 0o620, "may be written by others than its owner"),
        ("world", good.clone(), 0o602, "may be written by others than its owner"),
        ("issuer", with("issuer", json!("https://evil.example")), 0o600, "of the issuer \"https://evil.example\""),
        ("slash", with("issuer", json!(format!("{}/", issuer.url()))), 0o600, "of the issuer"),
        ("nobody", with("issuer", Value::Null), 0o600, "of the issuer \"\""),
        ("source", with("source", json!(issuer.url_of(Document::Keys))), 0o600, "of the source"),
        ("authorities", with("authorities", json!("aa")), 0o600, "of the authorities \"aa\""),
        ("future", at(61), 0o600, "it was fetched later than now"),
        ("no_time", with("fetched", json!("now")), 0o600, "it was fetched later than now"),
        ("negative", with("fetched", json!(-1)), 0o600, "it was fetched later than now"),
        ("old", at(-day), 0o600, "it is 86400 seconds old"),
        ("epoch", with("fetched", json!(0)), 0o600, "it is 1800000000 seconds old"),
        ("no_keys", with("keys", json!([])), 0o600, "has no usable key"),
        ("secrets", with("keys", secret), 0o600, "has no usable key"),
        ("no_set", with("keys", json!({})), 0o600, "has no array `keys`"),
    ] {
        let place = Place::new();
        place.write(&document);
        place.set_mode(mode);
        issuer.down().await;
        let mut world = World::start_with(KeySource { name: format!("distrust_{name}"), ..place.source(&issuer) });
        assert!(!world.sets.seen(ID), "{name}");
        world.expect(FetchTrigger::Start, FetchResult::Unreachable, 0).await;
        assert_eq!(world.ask("a").await, Err(Code::KeysUnavailable), "{name}");
        told(name, cause);

        issuer.up();
        world.hands.advance(COOLDOWN);
        assert_eq!(world.ask("a").await, Ok(()), "{name}");
        let fetched = (START + COOLDOWN).as_secs();
        place.written(|document| *document == with("fetched", json!(fetched))).await;
        assert_eq!(fs::metadata(place.path()).unwrap().mode() & 0o7777, 0o600, "{name}");
    }
    // The last moments at which it is believed.
    for (seconds, age) in [(60, 0), (1 - day, day - 1)] {
        let place = Place::new();
        place.write(&at(seconds));
        place.set_mode(0o644);
        let world = World::start_with(place.source(&issuer));
        let age = Duration::from_secs(age.cast_unsigned());
        assert_eq!(world.sets.standing(ID), standing(Provenance::Snapshot, age, 1), "{seconds}");
    }
}

/// That the operator was told once, with a place and a cure.
fn told(name: &str, cause: &str) {
    let lines = log::lines_with(&format!("issuer=distrust_{name} "));
    let lines: Vec<_> =
        lines.iter().filter(|line| line.contains("the snapshot of the issuer's keys is not used")).collect();
    let [line] = lines.as_slice() else { panic!("{name}: {lines:#?}") };
    for part in ["WARN", "main.jwks", "help=\"", cause] {
        assert!(line.contains(part), "{name}: {part}: {line}");
    }
}

/// What somebody else owns is not believed, however well it is written.
#[tokio::test]
async fn a_snapshot_of_another_user_is_not_believed() {
    log::keep();
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let place = Place::new();
    place.filled(&issuer).await;
    // Only root can give a file away: elsewhere there is nothing to see.
    if chown(place.path(), Some(65534), None).is_err() {
        return;
    }
    let world = World::start_with(KeySource { name: "distrust_owner".to_owned(), ..place.source(&issuer) });
    assert!(!world.sets.seen(ID));
    told("owner", "it belongs to another user");
    chown(place.path(), Some(0), None).unwrap();
    chown(place.directory.path(), Some(65534), None).unwrap();
    let world = World::start_with(KeySource { name: "distrust_owners".to_owned(), ..place.source(&issuer) });
    assert!(!world.sets.seen(ID));
    told("owners", "its directory belongs to another user");
}

/// A file that is no snapshot was somebody's: it is told, and left as it is.
#[tokio::test]
async fn what_is_no_snapshot_is_left_alone() {
    log::keep();
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let good = {
        let place = Place::new();
        place.filled(&issuer).await.to_string()
    };
    let set = jwk_set(&[Key::p256("a")]).to_string();
    let twice = format!("{{\"issuer\":\"https://evil.example\",{}", &good[1..]);
    let long = format!("{}{}", " ".repeat(1024 * 1024), good);
    for (name, text) in [
        ("empty", ""),
        ("toml", "[server]\nworkers = 2\n"),
        ("half", &good[..good.len() / 2]),
        ("key_set", &set),
        ("other_version", &good.replace("snapshot 1", "snapshot 2")),
        ("repeated", &twice),
        ("long", &long),
    ] {
        let place = Place::new();
        fs::write(place.path(), text).unwrap();
        let mut world = World::start_with(KeySource { name: format!("distrust_{name}"), ..place.source(&issuer) });
        assert!(!world.sets.seen(ID), "{name}");
        told(name, "what stands there is no snapshot, and is left alone");
        world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
        assert_eq!(world.ask("a").await, Ok(()), "{name}: the rest goes on");
        world.refresh(FetchResult::Success, 1).await;
        assert_eq!(fs::read_to_string(place.path()).unwrap(), text, "{name}");
    }
}

/// Who may put files into its directory can put in a pipe, on which an opening would wait for ever, or a link.
#[tokio::test]
async fn a_pipe_is_not_waited_for_and_a_link_not_followed() {
    log::keep();
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let elsewhere = Place::new();
    elsewhere.filled(&issuer).await;
    for name in ["pipe", "link"] {
        let place = Place::new();
        match name {
            "pipe" => assert!(std::process::Command::new("mkfifo").arg(place.path()).status().unwrap().success()),
            _ => std::os::unix::fs::symlink(elsewhere.path(), place.path()).unwrap(),
        }
        let mut world = World::start_with(KeySource { name: format!("distrust_{name}"), ..place.source(&issuer) });
        assert!(!world.sets.seen(ID), "{name}");
        world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
        assert!(!fs::symlink_metadata(place.path()).unwrap().is_file(), "{name}: it is left as it is");
    }
}

/// In a directory that others may write they can put in an old snapshot of ours at any time.
#[tokio::test]
async fn a_directory_that_others_may_write_is_not_used() {
    log::keep();
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    for (mode, believed) in [(0o777, false), (0o770, false), (0o755, true), (0o700, true), (0o1777, true)] {
        let place = Place::new();
        place.filled(&issuer).await;
        fs::set_permissions(place.directory.path(), Permissions::from_mode(mode)).unwrap();
        let name = format!("distrust_{mode:o}");
        let world = World::start_with(KeySource { name, ..place.source(&issuer) });
        assert_eq!(world.sets.seen(ID), believed, "{mode:o}");
        if !believed {
            told(&format!("{mode:o}"), "its directory may be written by others than its owner");
        }
    }
}

/// A directory that is missing is made, for us alone: in one that others share (a volume of Kubernetes), that is ours.
#[tokio::test]
async fn a_missing_directory_is_made() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let place = Place::new();
    fs::set_permissions(place.directory.path(), Permissions::from_mode(0o777)).unwrap();
    let directory = place.directory.path().join("keys/of");
    let source = KeySource { snapshot: Some(directory.join("main.jwks")), ..place.source(&issuer) };
    let mut world = World::start_with(source.clone());
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    written(&directory.join("main.jwks"), |_| true).await;
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(World::start_with(source).sets.standing(ID), standing(Provenance::Snapshot, Duration::ZERO, 1));
}

/// A disk that takes nothing is told once, and costs nothing else; and so is the end of it.
#[tokio::test]
async fn a_snapshot_that_cannot_be_written_costs_nothing_else() {
    log::keep();
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let place = Place::new();
    let directory = place.directory.path().join("full");
    let path = directory.join("main.jwks");
    let source = KeySource { name: "full".to_owned(), snapshot: Some(path.clone()), ..place.source(&issuer) };
    let mut world = World::start_with(source);
    // Before the directory could be made, something else stands there.
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    written(&path, |_| true).await;
    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "").unwrap();
    for _ in 0..3 {
        world.refresh(FetchResult::Success, 1).await;
        assert_eq!(world.ask("a").await, Ok(()));
        patiently(lines(1)).await;
    }
    fs::remove_file(&directory).unwrap();
    world.refresh(FetchResult::Success, 1).await;
    written(&path, |document| document["fetched"] == (START + REFRESH * 4).as_secs()).await;
    patiently(lines(2)).await;
    let lines = log::lines_with("full/main.jwks");
    let parts = ["WARN", "issuer=full", "cannot be written", "cause=", "help=\"see that the gateway's user"];
    assert!(parts.iter().all(|part| lines[0].contains(part)), "{}", lines[0]);
    assert!(lines[1].contains("INFO") && lines[1].contains("can be written again"), "{}", lines[1]);
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

/// Returns once so many lines tell of that snapshot.
async fn lines(count: usize) {
    while log::lines_with("full/main.jwks").len() < count {
        tokio::task::yield_now().await;
    }
}
