//! The issuer takes another key every ten seconds and signs with it at once; the one before is still published.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::mint::Key;
use crate::world::{Crowd, World, orders, told};

const ROTATIONS: usize = 6;
const KIDS: [&str; ROTATIONS + 1] = ["key-0", "key-1", "key-2", "key-3", "key-4", "key-5", "key-6"];

pub async fn run() -> bool {
    let key = |number: usize| {
        let kid = KIDS[number];
        if number.is_multiple_of(2) { Key::p256("a").named(kid) } else { Key::rsa("b").named(kid) }
    };
    // Less than the time between two rotations: within the cooldown a new key stays unknown.
    let world = World::start(key(0), "", "jwks = { cooldown = \"5s\" }", "").await;
    let tokens = Arc::new(Mutex::new(Arc::new(world.tokens(key(0), 200))));
    let mut crowd = Crowd::new(world.gateway.address);
    let current = Arc::clone(&tokens);
    let token = move || current.lock().unwrap().next();
    crowd.join_http1(16, &orders(token, Duration::from_millis(20)));
    for number in 0..ROTATIONS {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let next = Arc::new(world.tokens(key(number + 1), 200));
        world.issuer.rotate(&[key(number), key(number + 1)]);
        *tokens.lock().unwrap() = next;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    crowd.course.end();
    let fates = crowd.gone().await;
    told("rotate", &format!("{} s, {ROTATIONS} new keys", 10 * ROTATIONS + 2), &fates)
}
