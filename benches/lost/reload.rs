//! A steady load, and a reload each second, of which every fifth finds a broken file.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::client::{Ask, Habit};
use crate::fate::Fate;
use crate::harness::mint::Key;
use crate::world::{Crowd, World, config, orders, told};

const RELOADS: u32 = 60;
const REST: Duration = Duration::from_millis(40);

pub async fn run() -> bool {
    let key = Key::p256("key");
    let world = World::start(key, "", "", "").await;
    let mut crowd = Crowd::new(world.gateway.address);
    let tokens = world.tokens(key, 100);
    crowd.join_http1(16, &orders(move || tokens.next(), REST));
    crowd.join_http1(16, &public("/open/0", false));
    crowd.join_http1(8, &public("/odd/0", true));
    crowd.join_http2(2, 4, &public("/open/0", false));

    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut at_ease = (0, 0);
    for number in 1..=RELOADS {
        seconds.tick().await;
        let broken = if number % 5 == 0 { "\nbroken = [" } else { "" };
        let issuer = format!("jwks = {{ refresh = \"{}m\" }}", 5 + number % 2);
        let text = config(&world.issuer, world.upstream, "", &issuer, &(odd(number, world.upstream) + broken));
        let (file, new) = (world.gateway.file(), world.gateway.file().with_extension("new"));
        fs::write(&new, text).unwrap();
        fs::rename(&new, &file).unwrap();
        world.gateway.send("HUP");
        if number == RELOADS / 3 {
            at_ease = (world.gateway.resident_kib(), world.gateway.open_files());
        }
    }
    seconds.tick().await;
    let at_end = (world.gateway.resident_kib(), world.gateway.open_files());
    let reloads = async |result: &str| {
        let series = format!("bearward_config_reloads_total{{result=\"{result}\"}}");
        world.gateway.sample(&series).await.unwrap_or_default()
    };
    let (good, bad) = (reloads("success").await, reloads("failure").await);
    crowd.course.end();
    let fates = crowd.gone().await;

    let mib = |kib: u64| kib as f64 / 1024.0;
    let about = format!(
        "{RELOADS} s, {good} reloads, {bad} of broken files; memory {:.1} MiB after {} s and {:.1} MiB at the end, {} and {} open files",
        mib(at_ease.0),
        RELOADS / 3,
        mib(at_end.0),
        at_ease.1,
        at_end.1
    );
    let both_seen =
        fates.of(Fate::Elsewhere) > 0 && (good, bad) == (f64::from(RELOADS - RELOADS / 5), f64::from(RELOADS / 5));
    let flat = at_end.0 < at_ease.0 + 8 * 1024 && at_end.1 <= at_ease.1 + 8;
    told("reload", &about, &fates) && both_seen && flat
}

/// A route that only every other configuration has.
fn odd(number: u32, upstream: SocketAddr) -> String {
    if number.is_multiple_of(2) {
        return String::new();
    }
    format!(
        "[[routes]]\nname = \"odd-{number}\"\npath = \"/odd/*\"\nupstream = \"http://{upstream}\"\npolicy = \"public\"\n"
    )
}

fn public(path: &'static str, elsewhere: bool) -> Habit {
    Habit { next: Arc::new(move || Ask { path: path.to_owned(), token: None, elsewhere }), rest: REST }
}
