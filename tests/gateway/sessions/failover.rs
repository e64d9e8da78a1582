//! Servers of a store that are killed, and whose replica takes over: until it does a request is refused as
//! `store_unavailable`, and after that every session is there. Nobody is logged out.

use std::time::{Duration, Instant};

use bearward::remote::clock::Clock;
use bearward::remote::store;
use serde_json::json;
use tokio::runtime::Handle;

use crate::harness::redis::{Cluster, Redis, replicated, until};
use crate::harness::replica::Replica;
use crate::harness::tokens::Tokens;
use crate::stores::at;

/// How long a failover may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long a request may wait for a server that is gone: a second for each of two tries, and then some for a busy machine.
const WAIT: Duration = Duration::from_secs(10);

/// A gateway, and the people who are logged in there.
struct Kept {
    tokens: Tokens,
    replica: Replica,
    /// Name, cookie, and how often the access token was renewed.
    people: Vec<(String, String, usize)>,
}

impl Kept {
    /// The store is found at that server.
    async fn at(server: &Redis) -> Self {
        let tokens = Tokens::start().await;
        let (clock, control) = (Clock::system(), Handle::current());
        let replica = Replica::new(&tokens, &store::open(&at(server), &clock, &control), &clock);
        let mut kept = Self { tokens, replica, people: Vec::new() };
        // So many that there are some in each part of a cluster.
        for number in 0..20 {
            let name = format!("user{number}");
            let cookie = kept.replica.login(&kept.tokens, &name).await;
            kept.people.push((name, cookie, 1));
        }
        kept
    }

    /// That everybody's session is there, at the latest in a while.
    async fn are_all_found(&self) {
        let begun = Instant::now();
        for (name, cookie, renewed) in &self.people {
            loop {
                let asked = Instant::now();
                let access = self.replica.access(cookie).await;
                assert!(asked.elapsed() < WAIT, "{name} waited {:?}", asked.elapsed());
                match access {
                    Ok(token) => break assert_eq!(token, format!("access-{name}-{renewed}")),
                    Err(code) => assert_eq!(code, "store_unavailable", "{name}"),
                }
                assert!(begun.elapsed() < PATIENCE, "{name} is not found");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// That the store takes changes: somebody logs in whose token is renewed at once, and everybody else is there still.
    async fn go_on(&mut self) {
        self.are_all_found().await;
        let name = format!("user{}", self.people.len());
        self.tokens.say(json!({ "expires_in": 0 }));
        let cookie = self.replica.login(&self.tokens, &name).await;
        self.tokens.say(json!({ "expires_in": 600 }));
        self.people.push((name, cookie, 2));
        self.are_all_found().await;
        assert_eq!(self.tokens.reused(), 0);
    }
}

#[tokio::test]
#[ignore = "waits for servers that miss each other, which a machine that is busy confuses; `tests/run --long` runs it"]
async fn a_sentinels_failover_logs_nobody_out() {
    let Some(mut first) = Redis::start(&[]) else { return };
    let port = first.port().to_string();
    let Some(second) = Redis::start(&["--replicaof", &format!("127.0.0.1 {port}")]) else { return };
    let Some(sentinel) = Redis::start(&["--sentinel"]) else { return };
    assert_eq!(sentinel.cli(&["SENTINEL", "MONITOR", "sessions", "127.0.0.1", &port, "1"]), "OK");
    for (option, value) in [("down-after-milliseconds", "1000"), ("failover-timeout", "5000")] {
        assert_eq!(sentinel.cli(&["SENTINEL", "SET", "sessions", option, value]), "OK");
    }
    let mut kept = Kept::at(&sentinel).await;
    until("the sentinel knows the replica", || sentinel.cli(&["SENTINEL", "REPLICAS", "sessions"]).contains("flags"))
        .await;

    replicated(&first, &second).await;
    first.down();
    kept.are_all_found().await;
    // A machine that is busy is no reason for another one.
    sentinel.cli(&["SENTINEL", "SET", "sessions", "down-after-milliseconds", "60000"]);
    assert!(second.cli(&["INFO", "replication"]).contains("role:master"));
    kept.go_on().await;
    // The one that was killed comes back, and is no master any more.
    first.up();
    until("it is a replica", || first.cli(&["INFO", "replication"]).contains("role:slave")).await;
    kept.go_on().await;
}

#[tokio::test]
#[ignore = "waits for servers that miss each other, which a machine that is busy confuses; `tests/run --long` runs it"]
async fn a_clusters_failover_logs_nobody_out() {
    let Some(mut cluster) = Cluster::start().await else { return };
    cluster.add_replica().await;
    // The server of our address is the one that is killed.
    let mut kept = Kept::at(&cluster.0[0]).await;
    replicated(&cluster.0[0], &cluster.0[3]).await;
    cluster.is_patient("1000");
    cluster.0[0].down();
    kept.are_all_found().await;
    cluster.is_patient("15000");
    assert!(cluster.0[3].cli(&["INFO", "replication"]).contains("role:master"));
    kept.go_on().await;

    // All of them go, and come back.
    cluster.0[1..].iter_mut().for_each(Redis::down);
    let (name, cookie, _) = &kept.people[0];
    assert_eq!(kept.replica.access(cookie).await, Err("store_unavailable".to_owned()), "{name}");
    cluster.0.iter_mut().for_each(Redis::up);
    kept.are_all_found().await;
    cluster.is_whole().await;
    kept.go_on().await;
}
