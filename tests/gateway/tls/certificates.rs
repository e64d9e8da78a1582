//! Which certificate a client is shown.

use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256};
use rustls::SignatureScheme::{
    ECDSA_NISTP256_SHA256, ECDSA_NISTP384_SHA384, ED25519, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use rustls::version::{TLS12, TLS13};

use super::{HOST, World};
use crate::harness::certificates::Authority;
use crate::harness::tls::{Tls, shown};

#[tokio::test]
async fn the_host_that_a_client_names_chooses_the_certificate() {
    let authority = Authority::new();
    let first = authority.issue("first", &["first.test", "10.0.0.1"]);
    let wildcard = authority.issue("wildcard", &["*.shop.test"]);
    let exact = authority.issue("exact", &["www.shop.test", "UPPER.test"]);
    let world = World::showing(authority, &[&first, &wildcard, &exact], "", "").await;

    let anybody = Tls::believing_anybody(&[ECDSA_NISTP256_SHA256]);
    for (host, expected, why) in [
        (Some("first.test"), &first, "its name"),
        (Some("www.shop.test"), &exact, "an exact name goes before a wildcard, whatever the order"),
        (Some("WWW.Shop.TEST"), &exact, "case does not count"),
        (Some("upper.test"), &exact, "nor in the certificate"),
        (Some("api.shop.test"), &wildcard, "a wildcard is for one label"),
        (Some("a.api.shop.test"), &first, "and not for two"),
        (Some("shop.test"), &first, "nor for none"),
        (Some("other.test"), &first, "the fallback for a name of nobody"),
        (None, &first, "and for no name"),
    ] {
        for version in [&TLS13, &TLS12] {
            let tls = if host.is_some() { anybody.clone() } else { anybody.clone().nameless() }.version(version);
            let stream = tls.connect(world.gateway.address(), host.unwrap_or("any.test")).await.unwrap();
            assert_eq!(shown(&stream), *expected.der(), "{host:?}: {why}");
        }
    }
}

#[tokio::test]
async fn of_two_certificates_for_a_host_a_client_is_shown_one_that_it_can_verify() {
    let authority = Authority::new();
    let ecdsa = authority.issue("ecdsa", &[HOST]);
    let rsa = authority.issue_with("rsa", &[HOST], &PKCS_RSA_SHA256, |_| {});
    let other = authority.issue_with("other", &["other.test"], &PKCS_ECDSA_P384_SHA384, |_| {});
    let world = World::showing(authority, &[&ecdsa, &rsa, &other], "", "").await;
    for (schemes, host, expected) in [
        (&[ECDSA_NISTP256_SHA256, RSA_PSS_SHA256][..], HOST, &ecdsa),
        (&[RSA_PSS_SHA256, ECDSA_NISTP256_SHA256], HOST, &ecdsa),
        (&[RSA_PSS_SHA256, RSA_PKCS1_SHA256], HOST, &rsa),
        (&[RSA_PSS_SHA256], "unknown.test", &rsa),
        (&[ECDSA_NISTP384_SHA384, RSA_PSS_SHA256], "other.test", &other),
    ] {
        for version in [&TLS13, &TLS12] {
            let tls = Tls::believing_anybody(schemes).version(version);
            let stream = tls.connect(world.gateway.address(), host).await.unwrap();
            assert_eq!(shown(&stream), *expected.der(), "{schemes:?} {host}");
        }
    }
    let none = Tls::believing_anybody(&[ED25519]).connect(world.gateway.address(), HOST).await;
    assert!(none.is_err(), "no certificate is of Ed25519");
    world.failed("tls_handshake", 1.0).await;
}
