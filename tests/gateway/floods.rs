//! Floods of HTTP/2 frames against the real binary: what it does with each, what that costs in memory, and that others are
//! served meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::harness::binary::Binary;
use crate::harness::client::Client;
use crate::harness::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Heard, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    block, frame,
};
use crate::harness::upstream::{Reply, Upstream};

/// How much memory a flood may take.
const GROWTH_KIB: u64 = 64 * 1024;

struct World {
    upstream: Upstream,
    /// Where `/flood` goes.
    flooding: Upstream,
    gateway: Binary,
}

impl World {
    async fn start() -> Self {
        let (upstream, flooding) = (Upstream::start().await, Upstream::start().await);
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [[routes]]\npath = \"/*\"\npolicy = \"public\"\nupstream = \"{}\"\n\
             [[routes]]\npath = \"/flood\"\npolicy = \"public\"\nupstream = \"{}\"\n",
            upstream.url(),
            flooding.url()
        );
        Self { gateway: Binary::start(&config), upstream, flooding }
    }

    /// Runs a flood beside a client that asks all the time: what the flood came to. Memory stays bounded.
    async fn beside<T>(&self, flood: impl Future<Output = T>) -> T {
        let mut good = Client::connect(self.gateway.address).await;
        assert_eq!(good.get("/").await.status, 200);
        let (before, over) = (self.gateway.resident_kib(), Arc::new(AtomicBool::new(false)));
        let done = Arc::clone(&over);
        let asking = async {
            let (mut most, mut served) = (0, false);
            while !over.load(Ordering::Relaxed) || !served {
                let answer = good.get("/").await;
                // A machine that is busy with other things may have no time for it now, and says so.
                assert!([200, 503].contains(&answer.status), "{}", answer.text());
                served |= answer.status == 200;
                most = most.max(self.gateway.resident_kib());
            }
            most
        };
        let flooding = async {
            let came_to = flood.await;
            done.store(true, Ordering::Relaxed);
            came_to
        };
        let (came_to, most) = tokio::join!(flooding, asking);
        let growth = most.saturating_sub(before);
        assert!(growth < GROWTH_KIB, "{growth} KiB");
        came_to
    }
}

fn get() -> Vec<u8> {
    block(&asking("/"))
}

fn asking(path: &str) -> [(&'static str, &str); 4] {
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)]
}

/// Error codes (RFC 9113 section 7).
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test]
async fn a_flood_that_has_no_use_ends_the_connection() {
    let world = World::start().await;
    type Piece = fn(&mut Frames) -> Vec<u8>;
    let floods: [(&str, Piece, usize, u32); 5] = [
        (
            "requests that are reset at once",
            |client| {
                let stream = client.next();
                let request = frame(HEADERS, END_STREAM | END_HEADERS, stream, &get());
                [request, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
            },
            20_000,
            ENHANCE_YOUR_CALM,
        ),
        ("requests that make us reset them", |client| updated(client, 0x7fff_ffff), 20_000, ENHANCE_YOUR_CALM),
        ("windows that are opened by nothing", |client| updated(client, 0), 20_000, PROTOCOL_ERROR),
        (
            "a head without an end",
            |client| match client.last() {
                0 => frame(HEADERS, 0, client.next(), &get()),
                stream => frame(CONTINUATION, 0, stream, &block(&[("x", &"x".repeat(100))]).repeat(150)),
            },
            10_000,
            ENHANCE_YOUR_CALM,
        ),
        (
            "parts of a body without bytes",
            |client| match client.last() {
                0 => frame(HEADERS, END_HEADERS, client.next(), &get()),
                stream => frame(DATA, 0, stream, &[]).repeat(1000),
            },
            1000,
            ENHANCE_YOUR_CALM,
        ),
    ];
    for (name, piece, times, expected) in floods {
        let ended = world
            .beside(async {
                let mut client = Frames::connect(world.gateway.address).await;
                client.flood(times, piece).await;
                client.ended().await
            })
            .await;
        assert_eq!(ended, Some(expected), "{name}");
    }
    let series = "bearward_connection_errors_total{listener=\"127.0.0.1:0\",reason=\"protocol\"}";
    world.gateway.counted(series, 5.0).await;
}

/// A request whose window is opened by so much.
fn updated(client: &mut Frames, increment: u32) -> Vec<u8> {
    let stream = client.next();
    let request = frame(HEADERS, END_STREAM | END_HEADERS, stream, &get());
    [request, frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())].concat()
}

#[tokio::test]
async fn frames_that_ask_for_answers_are_held_back_with_them() {
    let world = World::start().await;
    for (name, piece) in [
        ("settings", frame(SETTINGS, 0, 0, &[]).repeat(1000)),
        ("settings that change", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0x10, 0]).repeat(1000)),
        ("pings", frame(PING, 0, 0, &[0; 8]).repeat(1000)),
    ] {
        let sent = world
            .beside(async {
                let mut client = Frames::connect(world.gateway.address).await;
                client.flood_until(Duration::from_secs(1), 100_000, |_| piece.clone()).await
            })
            .await;
        assert!(sent < 100_000, "{name}: the gateway reads no more than it can answer");
    }
}

#[tokio::test]
async fn a_list_of_fields_far_over_the_limit_ends_the_connection() {
    let world = World::start().await;
    let ended = world
        .beside(async {
            let mut client = Frames::connect(world.gateway.address).await;
            let stream = client.next();
            client.send(&frame(HEADERS, END_STREAM, stream, &get())).await;
            let fields = block(&[("x", &"x".repeat(100))]).repeat(150);
            // It may have been ended before all of it was sent.
            client.flood(10, |_| frame(CONTINUATION, 0, stream, &fields)).await;
            client.flood(1, |_| frame(CONTINUATION, END_HEADERS, stream, &fields)).await;
            client.ended().await
        })
        .await;
    assert_eq!(ended, Some(ENHANCE_YOUR_CALM));
    assert_eq!(world.upstream.requests().iter().filter(|seen| !seen.all("x").is_empty()).count(), 0);
}

#[tokio::test]
async fn a_hundred_streams_are_open_at_once() {
    let world = World::start().await;
    let (_never, gate) = watch::channel(false);
    let fields = asking("/");
    let mut client = Frames::connect(world.gateway.address).await;
    for _ in 0..100 {
        world.upstream.reply(Reply::Held(gate.clone(), Vec::new()));
        client.begin(&fields).await;
    }
    world.upstream.request(99).await;
    assert_eq!(client.ask(&fields).await, Heard::Reset(REFUSED_STREAM));
    assert_eq!(world.upstream.requests().len(), 100);
}

/// Returns once nothing more is taken of what an upstream sends: how much that was.
async fn settled(upstream: &Upstream) -> usize {
    let mut taken = upstream.flooded();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = upstream.flooded();
        if now == taken {
            return taken;
        }
        taken = now;
    }
}

#[tokio::test]
async fn answers_that_nobody_takes_are_not_fetched() {
    let length = 64 * 1024 * 1024;
    for (window, what) in [(0, "no window"), (0x7fff_ffff, "a window without end, and nothing that reads")] {
        let world = World::start().await;
        // None before all of them have come: a gateway that has much to do lets in no more.
        let (open, gate) = watch::channel(false);
        for _ in 0..200 {
            world.flooding.reply(Reply::Once(gate.clone(), Box::new(Reply::Flood(length))));
        }
        let (taken, clients) = world
            .beside(async {
                let mut clients = Vec::new();
                for _ in 0..2 {
                    let mut client = Frames::connect_with(world.gateway.address, &[(4, window)]).await;
                    client.send(&frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes())).await;
                    for _ in 0..100 {
                        client.begin(&asking("/flood")).await;
                    }
                    clients.push(client);
                }
                world.flooding.request(199).await;
                open.send(true).unwrap();
                (settled(&world.flooding).await, clients)
            })
            .await;
        // What the kernel's buffers hold is taken from the upstream, too.
        assert!(taken < 200 * length / 8, "{what}: {taken} bytes were taken from the upstream");
        drop(clients);
    }
}
