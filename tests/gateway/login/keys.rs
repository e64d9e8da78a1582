//! The keys that seal sessions, and what a reload does to those that there are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{SCRIPT, World, secret_file};

#[tokio::test]
async fn keys_are_exchanged_without_logging_anybody_out() {
    let world = World::start().await;
    let key = |name: &str, byte: u8| secret_file(&world.files, name, &STANDARD.encode([byte; 32]));
    let (old, new) = (key("old", 1), key("new", 2));
    let keys = |files: &[&str]| {
        let files: Vec<_> = files.iter().map(|file| format!("{{ file = \"{file}\" }}")).collect();
        world.reconfigure(&format!("cookie = {{ keys = [{}] }}", files.join(", ")));
    };
    keys(&[&old]);
    let early = world.logged_in().await;
    let mut begun_early = world.browser();
    let begun = world.begun(&mut begun_early, "/").await;

    keys(&[&new, &old]);
    let late = world.logged_in().await;
    for browser in [&early, &late] {
        assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, 200);
    }
    let granted = world.granted("bob", &begun.nonce);
    assert_eq!(world.comes_back(&mut begun_early, &begun, &granted).await.status, 302, "a login on its way goes on");

    keys(&[&new]);
    assert_eq!(early.peek("GET", "/orders", SCRIPT).await.code(), "session_expired");
    assert_eq!(late.peek("GET", "/orders", SCRIPT).await.status, 200);
}

#[tokio::test]
async fn a_reload_ends_no_session() {
    let world = World::start().await;
    let browser = world.logged_in().await;
    world.reconfigure("lifetime = \"30d\"");
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, 200);
}
