//! What a reload changes for those who connect after it, and for nobody else.

use rustls::HandshakeKind::{Full, Resumed};
use rustls::version::{TLS12, TLS13};

use super::{HOST, World, toml};
use crate::harness::certificates::Authority;
use crate::harness::client::Client;
use crate::harness::tls::{settled, shown};

#[tokio::test]
async fn another_certificate_is_shown_to_those_who_connect_later() {
    let world = World::start().await;
    let stream = world.tls().connect(world.gateway.address(), HOST).await.unwrap();
    let before = shown(&stream);
    let mut old = Client::over(stream);
    assert_eq!(old.get("/").await.status, 200);

    let renewed = world.authority.issue("renewed", &[HOST]);
    world.gateway.adopt(&toml(&world.upstream, &[&renewed], "", ""));
    let stream = world.tls().connect(world.gateway.address(), HOST).await.unwrap();
    assert_eq!(shown(&stream), *renewed.der());
    assert_ne!(before, *renewed.der());
    assert_eq!(old.get("/").await.status, 200, "who was there before goes on");
}

#[tokio::test]
async fn tls_is_switched_on_and_off() {
    let world = World::start().await;
    let clear = toml(&world.upstream, &[], "", "").replace("tls = []\n", "");
    world.gateway.adopt(&clear);
    assert_eq!(Client::connect(world.gateway.address()).await.get("/").await.status, 200);
    assert!(world.tls().connect(world.gateway.address(), HOST).await.is_err());
    let usual = world.authority.issue("usual", &[HOST]);
    world.gateway.adopt(&toml(&world.upstream, &[&usual], "", ""));
    world.serves().await;
}

#[tokio::test]
async fn a_session_ends_with_what_it_was_granted_under() {
    for version in [&TLS13, &TLS12] {
        let world = World::start().await;
        let usual = world.authority.issue("usual", &[HOST]);
        let same = toml(&world.upstream, &[&usual], "", "");
        world.gateway.adopt(&same);
        let connector = world.tls().version(version).connector();
        let kind = async || {
            let stream = connector.connect(world.gateway.address(), HOST).await.unwrap();
            let kind = settled(&stream).2;
            assert_eq!(Client::over(stream).get("/").await.status, 200);
            kind
        };
        assert_eq!((kind().await, kind().await), (Full, Resumed));

        // Something else has changed.
        world.gateway.adopt(&same.replace("64KiB", "65KiB"));
        assert_eq!(kind().await, Resumed);

        // Another certificate.
        let renewed = world.authority.issue("renewed", &[HOST]);
        world.gateway.adopt(&toml(&world.upstream, &[&renewed], "", ""));
        assert_eq!((kind().await, kind().await), (Full, Resumed));

        // Certificates are asked for: the session of before opens nothing.
        let ours = Authority::new();
        let lines = format!("client_certificates = {{ ca = \"{}\", mode = \"required\" }}", ours.file().display());
        world.gateway.adopt(&toml(&world.upstream, &[&renewed], &lines, ""));
        if let Ok(stream) = connector.connect(world.gateway.address(), HOST).await {
            // A client of 1.3 has its side done before it is refused.
            let mut client = Client::over(stream);
            client.offer(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
            assert_eq!(client.rest().await, b"");
        }
        world.failed("tls_client_certificate", 1.0).await;
    }
}
