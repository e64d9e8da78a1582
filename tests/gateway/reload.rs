//! A configuration is exchanged for another while the gateway serves.

mod files;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::client::Client;
use crate::harness::issuer::{Document, Issuer};
use crate::harness::mint::Key;
use crate::harness::upstream::Reply;
use crate::harness::world::{AUDIENCE, World};

const HITS: &str = "bearward_verified_cache_total{result=\"hit\"}";

/// A public route of that name.
fn public(name: &str, path: &str) -> String {
    format!("[[routes]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"api\"\npolicy = \"public\"\n")
}

#[tokio::test]
async fn a_request_ends_under_the_configuration_it_began_with() {
    let world = World::start().await;
    let (open, gate) = watch::channel(false);
    world.upstream.reply(Reply::Held(gate, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()));
    let mut client = Client::connect(world.gateway.address()).await;
    client.send("GET /open HTTP/1.1\r\nhost: a\r\n\r\n").await;
    world.upstream.request(0).await;
    let before = Arc::downgrade(&world.gateway.in_force());

    world.reroute("", &public("other", "/other"));
    assert_eq!(client_answer(&world, "/open").await, (404, "route_unknown".to_owned()));
    assert_eq!(client_answer(&world, "/other").await.0, 200);
    assert!(before.upgrade().is_some(), "a request is under way");
    open.send(true).unwrap();
    assert_eq!(client.answer().await.text(), "late");
    world.gateway.counted("bearward_requests_in_flight", 0.0).await;
    assert!(before.upgrade().is_none(), "nobody uses it any more");
    let lines = world.gateway.access_lines();
    let of_late = lines.iter().find(|line| line.contains("\"url.path\":\"/open\",\"http.route\":\"open\""));
    assert!(of_late.is_some_and(|line| line.contains("\"outcome\":\"anonymous\"")), "{lines:#?}");
    // The connection serves on, under what is in force now.
    assert_eq!(client.get("/open").await.code(), "route_unknown");
}

async fn client_answer(world: &World, path: &str) -> (u16, String) {
    let answer = world.ask("GET", path, &[]).await;
    (answer.status, answer.code())
}

#[tokio::test]
async fn clients_that_are_at_it_hear_nothing_of_reloads() {
    const CLIENTS: usize = 8;
    let world = World::start().await;
    let (answered, mut seen) = watch::channel(0_usize);
    let token = world.token();
    let address = world.gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (answered, token) = (answered.clone(), token.clone());
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            loop {
                let request = format!("GET /orders HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
                let answer = client.ask(request).await;
                assert_eq!((answer.status, answer.header("connection")), (200, None), "{}", answer.text());
                answered.send_modify(|count| *count += 1);
            }
        });
    }
    for number in 0..50 {
        let other = public(&format!("other-{number}"), "/other");
        world.reroute(["", "leeway = \"1s\""][number % 2], &World::usual(&other));
        let before = *seen.borrow_and_update();
        let served = seen.wait_for(|count| *count >= before + CLIENTS);
        tokio::time::timeout(Duration::from_secs(30), served).await.expect("they go on").unwrap();
        assert!(clients.try_join_next().is_none(), "a client has failed");
    }
}

#[tokio::test]
async fn the_keys_of_an_issuer_whose_source_is_the_same_are_kept() {
    let mut world = World::start().await;
    world.passes().await;
    let fetched = (world.issuer.requests(Document::Discovery), world.issuer.requests(Document::Keys));
    world.issuer.down().await;
    // Its place among the issuers is another, and so is all that is believed of its tokens.
    let other = Issuer::start(&[]).await;
    let sections = format!(
        "[issuers.a]\nissuer = \"{}\"\n{}",
        other.url(),
        World::usual("").replace("audience", "issuers = [\"main\"]\naudience")
    );
    for lines in ["leeway = \"1s\"", "leeway = \"2s\"\njwks = { refresh = \"7m\" }"] {
        world.reroute(lines, &sections);
        let token = world.token_but(&json!({ "jti": lines }));
        assert_eq!(world.get(&token).await.status, 200, "{lines}");
    }
    let fetched_since = (world.issuer.requests(Document::Discovery), world.issuer.requests(Document::Keys));
    assert_eq!(fetched_since, fetched);
    let ready = world.gateway.in_force().readiness();
    assert!(ready.iter().any(|issuer| issuer.name == "main" && issuer.seen), "{ready:?}");
}

#[tokio::test]
async fn a_request_waits_for_the_keys_of_an_issuer_that_is_new() {
    let world = World::start().await;
    let key = Key::p256("new");
    let issuer = Issuer::start(&[key]).await;
    issuer.hold();
    let sections = format!(
        "[issuers.new]\nissuer = \"{}\"\n[[routes]]\npath = \"/new\"\nupstream = \"api\"\n\
         policy = {{ issuers = [\"new\"], audience = [\"{AUDIENCE}\"] }}\n",
        issuer.url()
    );
    world.reroute("", &sections);
    let claims = json!({ "iss": issuer.url(), "aud": AUDIENCE, "exp": world.now() + 60 });
    let token = format!("Bearer {}", key.token(&claims));
    let headers = [("Authorization", token.as_str())];
    let (answer, ()) = tokio::join!(world.ask("GET", "/new", &headers), async {
        issuer.asked(Document::Discovery, 1).await;
        issuer.release();
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_proven_token_is_judged_by_the_configuration_in_force() {
    let world = World::start().await;
    let token = world.token();
    assert_eq!(world.get(&token).await.status, 200);
    let judged = async |hits: f64| {
        let answer = world.get(&token).await;
        assert_eq!(world.gateway.sample(HITS), Some(hits), "{}", answer.text());
        (answer.status, answer.code())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());

    // Another issuer stands at its place now.
    let other = Issuer::start(&[]).await;
    let moved = format!("[issuers.a]\nissuer = \"{}\"\n", other.url());
    let named = World::usual(&moved).replace("audience", "issuers = [\"main\"]\naudience");
    world.reroute("", &named);
    assert_eq!(judged(1.0).await, (200, String::new()));
    world.reroute("", &named.replace("\"main\"", "\"a\""));
    assert_eq!(judged(2.0).await, refused(401, "issuer_unknown"));

    world.reroute("dialect = \"keycloak\"\nalgorithms = [\"ES256\"]", &World::usual(""));
    assert_eq!(judged(3.0).await, refused(401, "algorithm_refused"));
    world.reroute("", &World::usual("[server.limits]\ntoken_bytes = \"64B\"\n"));
    assert_eq!(judged(3.0).await, refused(401, "token_too_large"));

    // The same `iss`, but keys that never signed it: what was proven by the others counts for nothing.
    let imposter = Issuer::start(&[Key::p256("key-1")]).await;
    world.reroute(&format!("jwks = {{ uri = \"{}\" }}", imposter.url_of(Document::Keys)), &World::usual(""));
    assert_eq!(judged(3.0).await.0, 401);
    world.reroute("", &World::usual(""));
    assert_eq!(world.get(&token).await.status, 200);
}

#[tokio::test]
async fn the_connections_to_an_upstream_that_is_the_same_are_kept() {
    let world = World::start().await;
    let mut client = Client::connect(world.gateway.address()).await;
    assert_eq!(client.get("/open").await.status, 200);
    world.reroute("", &public("other", "/*"));
    assert_eq!(client.get("/open").await.status, 200);
    assert_eq!(world.upstream.opened(), 1);

    let idle = "bearward_upstream_connections{state=\"idle\",upstream=\"api\"}";
    assert_eq!(world.gateway.sample(idle), Some(1.0));
    let direct = format!("[[routes]]\npath = \"/*\"\nupstream = \"{}\"\npolicy = \"public\"\n", world.upstream.url());
    world.gateway.adopt(&direct);
    // The old one is nobody's now.
    world.upstream.closed(1).await;
    assert_eq!(client.get("/open").await.status, 200);
    assert_eq!(world.upstream.opened(), 2);
    assert_eq!(world.gateway.sample(idle), None, "it is not configured any more");
}

#[tokio::test]
async fn limits_and_lines_are_those_in_force() {
    let world = World::start().await;
    let with = |server: &str| world.reroute("", &(public("all", "/*") + server));
    let mut first = Client::connect(world.gateway.address()).await;
    assert_eq!(first.get("/open").await.status, 200);

    with(
        "[server.limits]\nconnections = 1\nbody_bytes = \"1B\"\n[log]\naccess = { sample = 0.0, refused = \"all\" }\n",
    );
    let mut second = Client::connect(world.gateway.address()).await;
    assert_eq!(second.get("/2").await.code(), "overloaded");
    let large = first.ask("POST /3 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab").await;
    assert_eq!(large.code(), "body_too_large", "also on a connection that was open before");
    with("[server.limits]\nconnections = 2\n[log]\naccess = { sample = 0.0, refused = \"all\" }\n");
    let mut third = Client::connect(world.gateway.address()).await;
    assert_eq!(third.get("/4").await.status, 200, "there is room now");

    let lines = world.gateway.access_lines();
    let told = |path: &str| lines.iter().any(|line| line.contains(&format!("\"url.path\":\"{path}\"")));
    assert_eq!(["/open", "/2", "/3", "/4"].map(told), [true, true, true, false], "the first request, and refusals");
}

#[tokio::test]
async fn counters_go_on_by_name_and_gauges_go_with_it() {
    let world = World::start().await;
    let requests = |route: &str| {
        let labels = format!("by=\"upstream\",method=\"GET\",route=\"{route}\",status=\"200\"");
        world.gateway.sample(&format!("bearward_requests_total{{{labels}}}"))
    };
    let ask = async |path: &str| {
        assert_eq!(world.ask("GET", path, &[]).await.status, 200);
        world.gateway.counted("bearward_requests_in_flight", 0.0).await;
    };
    let keys = |issuer: &str| world.gateway.sample(&format!("bearward_jwks_keys{{issuer=\"{issuer}\"}}"));
    world.passes().await;
    ask("/open").await;
    assert_eq!((requests("open"), keys("main")), (Some(1.0), Some(1.0)));

    // Its place among the routes is another.
    world.reroute("", &(public("first", "/first") + &public("open", "/open")));
    ask("/open").await;
    ask("/first").await;
    assert_eq!((requests("open"), requests("first"), keys("main")), (Some(2.0), Some(1.0), Some(1.0)));

    let renamed = "[issuers.other]\nissuer = \"https://login.example.com\"\njwks = { uri = \"http://127.0.0.1:9/\" }\n";
    let elsewhere = public("first", "/*").replace("\"api\"", "\"http://127.0.0.1:9\"");
    world.gateway.adopt(&format!("{renamed}{elsewhere}"));
    assert_eq!((keys("main"), keys("other")), (None, Some(0.0)));
    assert_eq!(requests("open"), Some(2.0), "what was counted can still be read");
    world.reroute("", &public("open", "/open"));
    ask("/open").await;
    assert_eq!(requests("open"), Some(3.0));
}

#[tokio::test]
async fn many_reloads_leave_nothing_behind() {
    let world = World::start().await;
    world.passes().await;
    let reload = |number: usize| {
        // A new name of everything each time.
        let toml = format!(
            "[issuers.i{number}]\nissuer = \"https://{number}.example.com\"\njwks = {{ uri = \"http://127.0.0.1:9/\" }}\n\
             [upstreams.u{number}]\nurl = \"{}\"\n[[routes]]\nname = \"r{number}\"\npath = \"/*\"\nupstream = \"u{number}\"\n\
             policy = \"public\"\n",
            world.upstream.url()
        );
        world.gateway.adopt(&toml);
    };
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let series = || world.gateway.shared().telemetry().metrics.render().lines().count();
    let mut at_ease = (0, 0);
    for number in 0..300 {
        let before = Arc::downgrade(&world.gateway.in_force());
        reload(number);
        assert!(before.upgrade().is_none());
        assert_eq!(world.ask("GET", "/", &[]).await.status, 200);
        world.gateway.counted("bearward_requests_in_flight", 0.0).await;
        if number == 100 {
            at_ease = (tasks(), series());
        }
    }
    assert_eq!(series(), at_ease.1);
    // What was aborted ends a moment later.
    let ended = async {
        while tasks() > at_ease.0 + 5 {
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    assert!(ended.is_ok(), "{} tasks, {} at first", tasks(), at_ease.0);
    let text = world.gateway.shared().telemetry().metrics.render();
    assert!(text.contains("route=\"r299\"") && text.contains("route=\"r285\""), "what left a moment ago can be read");
    for forgotten in ["route=\"r200\"", "issuer=\"i200\"", "upstream=\"u200\""] {
        assert!(!text.contains(forgotten), "{forgotten} is in\n{text}");
    }
}
