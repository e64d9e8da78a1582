//! TLS to the upstream: who it must prove to be, what is shown to it, and what is spoken within.

use std::sync::Arc;

use http::Version;
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::{errors, gateway, toml};
use crate::harness::api::{self, Api};
use crate::harness::certificates::{Authority, Issued};
use crate::harness::client::Client;
use crate::harness::gateway::Served;

/// Both sides of a handshake are in this process: however long it is held up, neither is given up.
const PATIENT: &str = "connect_timeout = \"1h\"";

/// What an upstream shows, and asks for.
struct Shows<'a> {
    certificate: &'a Issued,
    alpn: &'a [&'a str],
    versions: &'a [&'static SupportedProtocolVersion],
    /// Whose certificates it asks clients for.
    clients: Option<&'a Authority>,
}

impl<'a> Shows<'a> {
    fn just(certificate: &'a Issued) -> Self {
        Self { certificate, alpn: &["h2", "http/1.1"], versions: rustls::ALL_VERSIONS, clients: None }
    }

    async fn start(self) -> Api {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(self.versions).unwrap();
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(authority.roots(), provider).build().unwrap(),
            ),
        };
        let (certificate, key) = self.certificate.pair();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Api::tls(config, api::ok).await
    }
}

/// A gateway before an https upstream at this host, which trusts the authority, with further options of `tls`.
fn before(api: &Api, host: &str, authority: &Authority, options: &str) -> Served {
    Served::start(&trusting(api, host, authority, options))
}

/// The configuration of that gateway.
fn trusting(api: &Api, host: &str, authority: &Authority, options: &str) -> String {
    let url = format!("https://{host}:{}", api.address().port());
    toml(&url, &format!("{PATIENT}\ntls = {{ ca = \"{}\"{options} }}", authority.file().display()))
}

/// Options of `tls` that show this certificate.
fn showing(issued: &Issued) -> String {
    let options = issued.toml();
    format!(", {}", options.trim_start_matches("{ ").trim_end_matches(" }"))
}

#[tokio::test]
async fn within_tls_the_upstream_chooses_what_is_spoken() {
    let authority = Authority::new();
    let certificate = authority.issue("api", &["localhost"]);
    for (alpn, versions, spoken) in [
        (&["h2", "http/1.1"][..], &[&version::TLS13][..], Version::HTTP_2),
        (&["h2"], &[&version::TLS12], Version::HTTP_2),
        (&["http/1.1"], &[&version::TLS13], Version::HTTP_11),
        (&[], &[&version::TLS12], Version::HTTP_11),
    ] {
        let api = Shows { alpn, versions, ..Shows::just(&certificate) }.start().await;
        let gateway = before(&api, "localhost", &authority, "");
        let mut client = Client::connect(gateway.address()).await;
        for number in 0..2 {
            let answer = client.ask("POST /x HTTP/1.1\r\nhost: api.test\r\ncontent-length: 2\r\n\r\nhi").await;
            assert_eq!((answer.status, answer.text()), (200, "ok"), "{alpn:?}");
            let asked = api.asked(number).await;
            assert_eq!((asked.version, asked.connection), (spoken, 0), "{alpn:?}");
            assert_eq!(asked.shown.host.as_deref(), Some("localhost"));
            if spoken == Version::HTTP_2 {
                assert_eq!(asked.uri, "https://api.test/x");
            }
        }
    }
}

#[tokio::test]
async fn requests_that_come_at_once_wait_to_hear_what_is_spoken() {
    let authority = Authority::new();
    let certificate = authority.issue("api", &["localhost"]);
    for (alpn, at_most) in [(&["h2"][..], 1), (&["http/1.1"], 20)] {
        let api = Shows { alpn, ..Shows::just(&certificate) }.start().await;
        let gateway = before(&api, "localhost", &authority, "");
        let address = gateway.address();
        let clients = (0..20).map(|_| async move { Client::connect(address).await.get("/").await.status });
        assert_eq!(futures_util::future::join_all(clients).await, [200; 20]);
        assert!(api.opened() <= at_most, "{alpn:?}: {}", api.opened());
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_prove_its_name_gets_no_request() {
    let authority = Authority::new();
    let other = Authority::new();
    let expired = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let ecdsa = &rcgen::PKCS_ECDSA_P256_SHA256;
    for (name, certificate, host, options, passes) in [
        ("good", authority.issue("good", &["localhost"]), "localhost", "", true),
        ("another name", authority.issue("wrong", &["other.test"]), "localhost", "", false),
        ("another authority", other.issue("other", &["localhost"]), "localhost", "", false),
        ("expired", authority.issue_with("expired", &["localhost"], ecdsa, expired), "localhost", "", false),
        ("an address", authority.issue("address", &["127.0.0.1"]), "127.0.0.1", "", true),
        ("no address", authority.issue("noaddress", &["localhost"]), "127.0.0.1", "", false),
        ("a name given", authority.issue("named", &["inner.test"]), "127.0.0.1", ", name = \"inner.test\"", true),
        ("to its root", authority.issue("rooted", &["inner.test"]), "127.0.0.1", ", name = \"inner.test.\"", true),
        (
            "a wrong name given",
            authority.issue("misnamed", &["localhost"]),
            "localhost",
            ", name = \"inner.test\"",
            false,
        ),
    ] {
        let api = Shows::just(&certificate).start().await;
        let gateway = before(&api, host, &authority, options);
        let answer = Client::connect(gateway.address()).await.get("/").await;
        let (status, code) = if passes { (200, "") } else { (502, "upstream_unreachable") };
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}");
        assert_eq!(api.count(), usize::from(passes), "{name}");
        if options.contains("inner.test") && passes {
            assert_eq!(api.asked(0).await.shown.host.as_deref(), Some("inner.test"));
        }
    }
}

#[tokio::test]
async fn the_systems_authorities_do_not_count_beside_ones_own_and_strangers_do_not_count_for_the_system() {
    let authority = Authority::new();
    let certificate = authority.issue("api", &["localhost"]);
    let api = Shows::just(&certificate).start().await;
    // Whoever the system trusts, it is not this authority.
    let gateway = gateway(&format!("https://localhost:{}", api.address().port()), PATIENT);
    let answer = Client::connect(gateway.address()).await.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    assert_eq!(api.count(), 0);
}

#[tokio::test]
async fn a_self_signed_certificate_vouches_for_itself_unless_it_is_an_authoritys() {
    let directory = tempfile::tempdir().unwrap();
    for (is_authority, status) in [(false, 200), (true, 502)] {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        if is_authority {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let file = directory.path().join("own.crt");
        std::fs::write(&file, certificate.pem()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let api = Api::tls(config, api::ok).await;
        let url = format!("https://localhost:{}", api.address().port());
        let gateway = gateway(&url, &format!("{PATIENT}\ntls = {{ ca = \"{}\" }}", file.display()));
        assert_eq!(Client::connect(gateway.address()).await.get("/").await.status, status);
    }
}

#[tokio::test]
async fn an_upstream_that_asks_for_a_certificate_is_shown_ours() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let certificate = servers.issue("api", &["localhost"]);
    let ours = clients.issue_with("ours", &["gateway.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    });
    let stranger = servers.issue("stranger", &["gateway.test"]);
    let expiry = format!("bearward_certificate_expiry_timestamp_seconds{{name=\"{}\"}}", ours.file().display());
    for (name, options, passes) in
        [("ours", showing(&ours), true), ("a stranger's", showing(&stranger), false), ("none", String::new(), false)]
    {
        let api = Shows { clients: Some(&clients), ..Shows::just(&certificate) }.start().await;
        let gateway = before(&api, "localhost", &servers, &options);
        let answer = Client::connect(gateway.address()).await.get("/").await;
        assert_eq!(answer.status, if passes { 200 } else { 502 }, "{name}: {}", answer.text());
        assert_eq!(api.count(), usize::from(passes), "{name}");
        assert_eq!(gateway.sample(&expiry), passes.then_some(4_102_444_800.0), "{name}");
        if passes {
            assert_eq!(api.asked(0).await.shown.certificate.as_ref(), Some(ours.der()));
        }
    }
}

#[tokio::test]
async fn files_that_changed_count_from_the_next_request_on() {
    let (authority, other, clients) = (Authority::new(), Authority::new(), Authority::new());
    let certificate = authority.issue("api", &["localhost"]);
    let [first, second] = ["first", "second"].map(|name| clients.issue(name, &["gateway.test"]));
    let api = Shows { clients: Some(&clients), ..Shows::just(&certificate) }.start().await;
    let with = |authority: &Authority| trusting(&api, "localhost", authority, &showing(&first));
    let gateway = Served::start(&with(&authority));
    let mut client = Client::connect(gateway.address()).await;
    let mut asked = 0;
    // What is done, and then the answer, the connection, and what was shown on it.
    for (what, status, connection, shown) in [
        ("nothing", 200, 0, &first),
        ("reloaded without a change", 200, 0, &first),
        ("another certificate", 200, 1, &second),
        ("another authority", 502, 1, &second),
        ("the one before", 200, 2, &second),
    ] {
        match what {
            "nothing" => {}
            "another authority" => gateway.adopt(&with(&other)),
            "another certificate" => {
                second.write_as(&first);
                gateway.adopt(&with(&authority));
            }
            _ => gateway.adopt(&with(&authority)),
        }
        assert_eq!(client.get("/").await.status, status, "{what}");
        asked += usize::from(status == 200);
        let last = api.asked(asked - 1).await;
        assert_eq!((api.count(), last.connection), (asked, connection), "{what}");
        assert_eq!(last.shown.certificate.as_ref(), Some(shown.der()), "{what}");
    }
}

#[tokio::test]
async fn who_does_not_speak_tls_is_unreachable() {
    let authority = Authority::new();
    let api = Api::clear(api::ok).await;
    let gateway = before(&api, "localhost", &authority, "");
    let answer = Client::connect(gateway.address()).await.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    gateway.counted(&errors("upstream_unreachable"), 1.0).await;
}

#[tokio::test]
async fn a_handshake_that_stalls_ends_with_connect_timeout() {
    let authority = Authority::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", silent.local_addr().unwrap().port());
    let lines = format!("connect_timeout = \"200ms\"\ntls = {{ ca = \"{}\" }}", authority.file().display());
    let gateway = gateway(&url, &lines);
    let answer = Client::connect(gateway.address()).await.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
}
