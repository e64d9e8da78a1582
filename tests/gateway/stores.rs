//! What every store promises, driven over real ones: in memory, in a file, in Redis alone, in a cluster and behind a
//! sentinel.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bearward::config::{Secret, Store as Configured, StoreAddress};
use bearward::remote::clock::{Clock, Hands};
use bearward::remote::store::{self, Given, Kind, Name, Store};
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use url::Url;

use crate::harness::passing::passing;
use crate::harness::redis::{Cluster, Redis};

const HOUR: Duration = Duration::from_secs(3600);

fn name(kind: Kind, byte: u8) -> Name {
    Name { kind, hash: [byte; 32] }
}

fn entry(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn begins(text: &'static str) -> Given {
    Given::Begins(entry(text))
}

pub fn configured(address: StoreAddress) -> Configured {
    Configured { address, username: None, password: None }
}

/// The store of that address. Its clock stands still: however busy the machine is, no server is given up.
pub fn opened(configured: &Configured) -> Arc<dyn Store> {
    store::open(configured, &moved().0, &Handle::current())
}

pub fn at(redis: &Redis) -> Configured {
    configured(StoreAddress::Redis(Url::parse(&redis.url()).unwrap()))
}

/// Everything that does not hang on time.
async fn keeps_its_promises(store: &dyn Store) {
    let (session, other) = (name(Kind::Session, 1), name(Kind::Session, 2));
    let read = async |name| store.read(name).await.unwrap();
    let write = async |name, text, given| store.write(name, entry(text), HOUR, given).await.unwrap();
    let remove = async |name, given| store.remove(name, given).await.unwrap();

    assert_eq!(read(session).await, None);
    assert!(!write(session, "aa-0", begins("aa")).await, "there is none that begins so");
    assert!(write(session, "aa-1", Given::Absent).await);
    assert!(!write(session, "bb-1", Given::Absent).await);
    assert_eq!(read(session).await, Some(entry("aa-1")));
    assert!(!write(session, "bb-1", begins("bb")).await);
    assert!(!write(session, "bb-1", begins("aa-1-")).await, "longer than what is there");
    assert!(write(session, "bb-1", begins("aa")).await);
    assert_eq!(read(session).await, Some(entry("bb-1")));
    assert!(write(session, "cc\0\r\n\u{7f}", Given::Any).await);
    assert_eq!(read(session).await, Some(entry("cc\0\r\n\u{7f}")));
    assert_eq!(read(other).await, None);
    assert_eq!(read(name(Kind::Mark, 1)).await, None, "another kind is another name");

    assert!(!remove(session, begins("bb")).await);
    assert!(!remove(session, Given::Absent).await);
    assert!(!remove(other, Given::Any).await);
    assert!(remove(session, begins("cc")).await);
    assert!(!remove(session, Given::Any).await);
    assert_eq!(read(session).await, None);

    // Of many who want the same change one has it.
    let mark = name(Kind::Mark, 3);
    let set = join_all((0..50).map(|_| write(mark, "set", Given::Absent))).await;
    assert_eq!(set.iter().filter(|set| **set).count(), 1);
    let changed = join_all((0..50).map(|_| write(mark, "changed", begins("set")))).await;
    assert_eq!(changed.iter().filter(|changed| **changed).count(), 1);
    assert!(remove(mark, Given::Any).await);

    let list = name(Kind::Index, 4);
    assert_eq!(store.members(list).await.unwrap(), []);
    for member in [session, other, session] {
        store.enlist(list, member, HOUR).await.unwrap();
    }
    let mut members = store.members(list).await.unwrap();
    members.sort_by_key(|member| member.hash);
    assert_eq!(members, [session, other]);
    assert_eq!(store.members(name(Kind::Index, 5)).await.unwrap(), []);

    let large = Bytes::from(vec![7; 300 * 1024]);
    assert!(store.write(session, large.clone(), HOUR, Given::Any).await.unwrap());
    assert_eq!(store.read(session).await.unwrap(), Some(large));
    assert!(remove(session, Given::Any).await);
}

/// Entries and members end, as `pass` lets time go by.
async fn lets_go(store: &dyn Store, pass: impl AsyncFn(Duration)) {
    let (session, list) = (name(Kind::Session, 1), name(Kind::Index, 1));
    let life = Duration::from_millis(300);
    assert!(store.write(session, entry("aa"), life, Given::Absent).await.unwrap());
    store.enlist(list, session, life).await.unwrap();
    pass(Duration::from_millis(310)).await;
    assert_eq!(store.read(session).await.unwrap(), None);
    assert!(!store.write(session, entry("bb"), life, begins("aa")).await.unwrap());
    assert!(!store.remove(session, Given::Any).await.unwrap());
    assert!(store.write(session, entry("bb"), HOUR, Given::Absent).await.unwrap());
    store.enlist(list, name(Kind::Session, 2), HOUR).await.unwrap();
    assert_eq!(store.members(list).await.unwrap(), [name(Kind::Session, 2)]);
    // A member that comes with less life does not shorten the others'.
    store.enlist(list, name(Kind::Session, 3), life).await.unwrap();
    pass(Duration::from_millis(310)).await;
    assert!(store.members(list).await.unwrap().contains(&name(Kind::Session, 2)));
}

pub fn moved() -> (Clock, Hands) {
    Clock::manual(SystemTime::now())
}

#[tokio::test]
async fn memory_keeps_its_promises() {
    let (clock, hands) = moved();
    let store = store::open(&configured(StoreAddress::Memory), &clock, &Handle::current());
    keeps_its_promises(&*store).await;
    lets_go(&*store, async |span| hands.advance(span)).await;
}

#[tokio::test]
async fn a_file_keeps_its_promises_and_outlives_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let (clock, hands) = moved();
    let address = configured(StoreAddress::File(path.clone()));
    let store = store::open(&address, &clock, &Handle::current());
    keeps_its_promises(&*store).await;
    lets_go(&*store, async |span| hands.advance(span)).await;
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let second = store::open(&address, &clock, &Handle::current());
    let fault = second.read(name(Kind::Session, 1)).await.unwrap_err();
    assert!(fault.why.starts_with(&format!("{}: ", path.display())), "{fault}");
    drop(store);
    assert_eq!(second.read(name(Kind::Session, 1)).await.unwrap(), Some(entry("bb")), "found without a restart");
}

#[tokio::test]
async fn a_file_that_cannot_be_had_is_a_fault_until_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent").join("state.db");
    let store = opened(&configured(StoreAddress::File(path.clone())));
    assert!(store.read(name(Kind::Session, 1)).await.is_err());
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    assert_eq!(store.read(name(Kind::Session, 1)).await.unwrap(), None);
}

#[tokio::test]
async fn redis_keeps_its_promises() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = opened(&at(&redis));
    keeps_its_promises(&*store).await;
    lets_go(&*store, async |span| tokio::time::sleep(span).await).await;
    let keys = redis.cli(&["KEYS", "*"]);
    assert!(
        keys.lines().all(|key| key.starts_with("bearward:session:") || key.starts_with("bearward:index:")),
        "{keys}"
    );
    assert!(keys.lines().all(|key| redis.cli(&["PTTL", key]).parse::<i64>().unwrap() > 0), "each has an end");
}

#[tokio::test]
#[ignore = "needs Valkey, which `tests/run --long` installs"]
async fn valkey_keeps_its_promises() {
    let Some(mut valkey) = Redis::valkey() else { return };
    assert!(valkey.cli(&["INFO", "server"]).contains("server_name:valkey"));
    let store = opened(&at(&valkey));
    keeps_its_promises(&*store).await;
    lets_go(&*store, async |span| tokio::time::sleep(span).await).await;
    let session = name(Kind::Session, 9);
    assert!(store.write(session, entry("aa"), HOUR, Given::Any).await.unwrap());
    valkey.down();
    assert!(store.read(session).await.is_err());
    valkey.up();
    assert_eq!(store.read(session).await.unwrap(), Some(entry("aa")));
}

/// A user that may do no more than it needs, and another database.
#[tokio::test]
async fn redis_takes_us_as_the_user_we_are() {
    let user = "--user default off --user bearward on >secret resetkeys ~bearward:* -@all +get +set +del +eval +getrange \
                +zadd +zrange +zremrangebyscore +pttl +pexpire +time +select +hello";
    let Some(redis) = Redis::start(&user.split_whitespace().collect::<Vec<_>>()) else { return };
    let user = |password: &str| Configured {
        address: StoreAddress::Redis(Url::parse(&format!("{}/3", redis.url())).unwrap()),
        username: Some("bearward".to_owned()),
        password: Some(Secret::new(password.as_bytes().to_vec())),
    };
    let fault = opened(&user("wrong")).read(name(Kind::Session, 1)).await.unwrap_err();
    assert!(!fault.why.contains("wrong"), "{fault}");
    assert!(opened(&at(&redis)).read(name(Kind::Session, 1)).await.is_err());
    keeps_its_promises(&*opened(&user("secret"))).await;
}

#[tokio::test]
async fn redis_is_found_again_when_it_comes_back() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let store = opened(&at(&redis));
    let session = name(Kind::Session, 1);
    assert!(store.write(session, entry("aa"), HOUR, Given::Any).await.unwrap());
    for _ in 0..3 {
        redis.down();
        let fault = store.read(session).await.unwrap_err();
        assert!(fault.why.contains("refused"), "who is away is not waited for: {fault}");
        redis.up();
        assert_eq!(store.read(session).await.unwrap(), Some(entry("aa")), "what was told of is there");
    }
}

#[tokio::test]
async fn redis_that_hangs_is_waited_for_in_bounds_and_found_when_it_goes_on() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (clock, hands) = moved();
    let store = store::open(&at(&redis), &clock, &Handle::current());
    let session = name(Kind::Session, 1);
    assert!(store.write(session, entry("aa"), HOUR, Given::Any).await.unwrap());
    redis.signal("-STOP");
    let begun = clock.now();
    let faults = passing(&hands, join_all((0..20).map(|_| store.read(session)))).await;
    assert!(faults.iter().all(Result::is_err));
    // One after the other they would take longer than this.
    assert!(clock.now().since(begun) < Duration::from_secs(20));
    redis.signal("-CONT");
    assert_eq!(store.read(session).await.unwrap(), Some(entry("aa")), "the next call finds it well");
}

/// Whoever comes while somebody waits for a server that is silent waits no longer than that one.
#[tokio::test]
async fn nobody_waits_in_a_row_for_a_server_that_is_silent() {
    // Connections are made, and nobody takes them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let (clock, hands) = moved();
    let address = configured(StoreAddress::Redis(Url::parse(&url).unwrap()));
    let store = store::open(&address, &clock, &Handle::current());
    let begun = clock.now();
    let faults = passing(&hands, join_all((0..20).map(|_| store.read(name(Kind::Session, 1))))).await;
    assert!(faults.iter().all(Result::is_err));
    // In a row they would wait for longer than this.
    assert!(clock.now().since(begun) < Duration::from_secs(20));
}

#[tokio::test]
async fn what_is_no_entry_of_ours_is_none() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = opened(&at(&redis));
    let session = name(Kind::Session, 1);
    assert!(store.write(session, entry("aa"), HOUR, Given::Any).await.unwrap());
    let key = redis.cli(&["KEYS", "*"]);
    redis.cli(&["DEL", &key]);
    redis.cli(&["LPUSH", &key, "garbage"]);
    assert_eq!(store.read(session).await.unwrap(), None);
    redis.cli(&["FLUSHALL"]);
    assert_eq!(store.read(session).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "its nodes are given up by the library's own clock; `tests/run --long` runs it, alone"]
async fn a_cluster_keeps_its_promises() {
    let Some(cluster) = Cluster::start().await else { return };
    keeps_its_promises(&*opened(&at(&cluster.0[1]))).await;
}

#[tokio::test]
async fn a_sentinel_leads_to_its_master() {
    let Some(master) = Redis::start(&["--requirepass", "secret", "--masterauth", "secret"]) else { return };
    let Some(sentinel) = Redis::start(&["--sentinel"]) else { return };
    let port = master.port().to_string();
    assert_eq!(sentinel.cli(&["SENTINEL", "MONITOR", "sessions", "127.0.0.1", &port, "1"]), "OK");
    let configured = Configured { password: Some(Secret::new(b"secret".to_vec())), ..at(&sentinel) };
    keeps_its_promises(&*opened(&configured)).await;
    assert!(master.cli(&["-a", "secret", "KEYS", "*"]).starts_with("bearward:"));
}
