//! More than the gateway can do: what is refused, and that all is well again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::harness::binary::{Binary, Found};
use crate::harness::client::Client;
use crate::harness::gateway::Served;
use crate::harness::group::Group;
use crate::harness::mint::Key;
use crate::harness::upstream::{Reply, Upstream};
use crate::harness::world::World;

const REFUSED: &str = "bearward_decisions_total{issuer=\"none\",outcome=\"overloaded\",route=\"none\"}";

/// Each client has many requests under way, so that the worker's queue is long whatever the machine.
#[tokio::test]
async fn a_worker_that_is_behind_refuses_and_catches_up() {
    let world = World::start().await;
    let forged = Key::rsa("other").named("key-1").sign(&world.header(), &world.claims());
    let request = format!("GET /a HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {forged}\r\n\r\n").repeat(16);
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let (over, request, address) = (Arc::clone(&over), request.clone(), world.gateway.address());
        clients.spawn(async move {
            let (mut client, mut told) = (Client::connect(address).await, Vec::new());
            while !over.load(Ordering::Relaxed) {
                client.send(&request).await;
                for _ in 0..16 {
                    let answer = client.answer().await;
                    told.push((answer.status, answer.code()));
                }
            }
            told
        });
    }
    let flooded = async {
        while world.gateway.sample(REFUSED).is_none_or(|count| count < 100.0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), flooded).await.expect("a flood is refused in part");
    assert_eq!(Client::connect(world.gateway.admin_address()).await.get("/livez").await.status, 200);
    over.store(true, Ordering::Relaxed);
    let mut told: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, [(401, "signature_invalid".to_owned()), (503, "overloaded".to_owned())]);

    // Until it has caught up it may refuse for a moment more.
    let caught_up = async {
        let mut served = 0;
        while served < 100 {
            served = if world.get(&world.token()).await.status == 200 { served + 1 } else { 0 };
        }
    };
    tokio::time::timeout(Duration::from_secs(60), caught_up).await.expect("all is well again");
}

/// The configuration of a process that lets everything through to `upstream`.
fn alone(upstream: &Upstream) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstreams.api]\nurl = \"{}\"\ntimeout = \"1h\"\n\
         [[routes]]\npath = \"/*\"\npolicy = \"public\"\nupstream = \"api\"\n",
        upstream.url()
    )
}

/// Whoever asked while the process was stopped has waited long, but the worker keeps up.
#[tokio::test]
async fn a_process_that_was_stopped_for_a_moment_refuses_nobody() {
    let upstream = Upstream::start().await;
    let gateway = Binary::start(&alone(&upstream));
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(Client::connect(gateway.address).await);
    }
    for _ in 0..3 {
        gateway.send("STOP");
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        gateway.send("CONT");
        for client in &mut clients {
            assert_eq!(client.answer().await.status, 200);
        }
    }
}

#[tokio::test]
async fn where_memory_is_short_few_requests_are_served_at_a_time() {
    let group = tempfile::tempdir().unwrap();
    let uses = |bytes: u64| std::fs::write(group.path().join("memory.current"), bytes.to_string()).unwrap();
    std::fs::write(group.path().join("memory.max"), "1000\n").unwrap();
    uses(850);
    let upstream = Upstream::start().await;
    let gateway =
        Served::start(&format!("[[routes]]\npath = \"/*\"\npolicy = \"public\"\nupstream = \"{}\"\n", upstream.url()));
    gateway.server().watch_memory(vec![group.path().to_owned()], &Handle::current());

    let (open, mut held) = hold(&upstream, &gateway).await;
    let mut client = Client::connect(gateway.address()).await;
    // It is looked some times a second.
    let answer = loop {
        let answer = client.get("/").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((answer.status, answer.code().as_str(), answer.header("retry-after")), (503, "overloaded", Some("1")));
    open.send(true).unwrap();
    for client in &mut held {
        assert_eq!(client.answer().await.text(), "late", "what had begun ends");
    }
    gateway.counted("bearward_requests_in_flight", 0.0).await;
    assert_eq!(client.get("/").await.status, 200, "a few at a time are served");

    uses(799);
    let (open, mut held) = hold(&upstream, &gateway).await;
    let served = async { while client.get("/").await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(30), served).await.expect("there is memory again");
    open.send(true).unwrap();
    for client in &mut held {
        assert_eq!(client.answer().await.text(), "late");
    }
}

/// Where this process may make a control group; elsewhere the test before has to do.
#[tokio::test]
async fn a_process_whose_memory_is_bounded_refuses_before_it_is_killed() {
    let Some(group) = Group::make(&format!("bearward-{}", std::process::id())) else { return };
    let upstream = Upstream::start().await;
    let gateway = Binary::start_where(&alone(&upstream), Found::Group(group.path()));
    group.limit(group.usage() + 64 * 1024 * 1024);

    // The head of each request is kept until its answer has come.
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-filler: {}\r\n\r\n", "x".repeat(16 * 1024));
    let ((open, gate), mut held) = (watch::channel(false), Vec::new());
    let refused = loop {
        upstream.reply(Reply::Held(gate.clone(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()));
        let mut client = Client::connect(gateway.address).await;
        client.send(&request).await;
        let count = held.len();
        tokio::select! {
            _ = upstream.request(count) => held.push(client),
            answer = client.answer() => break answer,
        }
    };
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"));
    assert!(held.len() > 16, "{}", held.len());
    open.send(true).unwrap();
    for client in &mut held {
        assert_eq!(client.answer().await.text(), "late", "what had begun ends");
    }
    gateway.says("memory is nearly used up");
    drop(held);
    let served = async { while Client::connect(gateway.address).await.get("/").await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(30), served).await.expect("a few at a time are served");
}

/// As many requests under way as are served where memory is short; they end when the sender says so.
async fn hold(upstream: &Upstream, gateway: &Served) -> (watch::Sender<bool>, Vec<Client>) {
    let ((open, gate), before) = (watch::channel(false), upstream.count());
    let mut held = Vec::new();
    for number in 0..16 {
        upstream.reply(Reply::Held(gate.clone(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()));
        let mut client = Client::connect(gateway.address()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        upstream.request(before + number).await;
        held.push(client);
    }
    (open, held)
}
