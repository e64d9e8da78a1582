//! Clients that must show a certificate, or may.

use rcgen::PKCS_ECDSA_P256_SHA256;
use rustls::HandshakeKind::{Full, Resumed};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{HOST, World};
use crate::harness::certificates::Authority;
use crate::harness::client::Client;
use crate::harness::tls::{Connector, settled};

/// What becomes of a request within a handshake of this client: with version 1.3 a client has its side of the handshake done
/// before the server has seen its certificate.
async fn status(world: &World, connector: &Connector) -> Option<u16> {
    let mut stream = connector.connect(world.gateway.address(), HOST).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await.ok()?;
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.ok()?;
    std::str::from_utf8(&first).unwrap().split(' ').nth(1).unwrap().parse().ok()
}

#[tokio::test]
async fn a_client_is_let_in_by_its_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let good = ours.issue("good", &["client.test"]);
    let nameless = ours.issue("nameless", &[]);
    let foreign = theirs.issue("foreign", &["client.test"]);
    let expired = ours.issue_with("expired", &["client.test"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for mode in ["required", "optional"] {
        let lines = format!("client_certificates = {{ ca = \"{}\", mode = \"{mode}\" }}", ours.file().display());
        let world = World::configured(&lines, "").await;
        let mut refused = 0.0;
        for version in [&TLS13, &TLS12] {
            let tls = world.tls().version(version);
            assert_eq!(status(&world, &tls.clone().showing(&good).connector()).await, Some(200));
            assert_eq!(status(&world, &tls.clone().showing(&nameless).connector()).await, Some(200));
            let without = status(&world, &tls.connector()).await;
            if mode == "required" {
                assert_eq!(without, None);
                refused += 1.0;
            } else {
                assert_eq!(without, Some(200));
            }
            // A bad certificate is worse than none.
            for bad in [&foreign, &expired] {
                assert_eq!(status(&world, &tls.clone().showing(bad).connector()).await, None, "{mode}");
                refused += 1.0;
            }
            world.failed("tls_client_certificate", refused).await;
        }
    }
}

#[tokio::test]
async fn nothing_of_a_clients_certificate_goes_to_the_upstream() {
    let ours = Authority::new();
    let good = ours.issue("good", &["client.test"]);
    let lines = format!("client_certificates = {{ ca = \"{}\", mode = \"required\" }}", ours.file().display());
    let world = World::configured(&lines, "").await;
    let mut client = world.client(&world.tls().showing(&good)).await;
    assert_eq!(client.get("/").await.status, 200);
    let mut names: Vec<_> = world.upstream.request(0).await.headers.into_iter().map(|(name, _)| name).collect();
    names.sort();
    let ours = [
        "forwarded",
        "host",
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];
    assert_eq!(names, ours);
}

/// Whether the second of two connections takes up the session of the first.
async fn resumes(world: &World, connector: &Connector) -> bool {
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let stream = connector.connect(world.gateway.address(), HOST).await.unwrap();
        kinds.push(settled(&stream).2);
        // The tickets of version 1.3 come behind the handshake.
        assert_eq!(Client::over(stream).get("/").await.status, 200);
    }
    assert_eq!(kinds[0], Full);
    kinds[1] == Resumed
}

#[tokio::test]
async fn a_session_is_resumed_only_where_clients_need_no_certificate() {
    let ours = Authority::new();
    let good = ours.issue("good", &["client.test"]);
    let lines = format!("client_certificates = {{ ca = \"{}\", mode = \"optional\" }}", ours.file().display());
    let (without, with) = (World::start().await, World::configured(&lines, "").await);
    for version in [&TLS13, &TLS12] {
        assert!(resumes(&without, &without.tls().version(version).connector()).await);
        let tls = with.tls().version(version);
        assert!(!resumes(&with, &tls.clone().showing(&good).connector()).await);
        assert!(!resumes(&with, &tls.connector()).await);
    }
}
