//! TLS with clients: what is offered, which certificate is shown, who must show one, and what becomes of bad handshakes.

mod certificates;
mod client_certificates;
mod connections;
mod files;
mod hostile;
mod peers;
mod reload;

use http::Request;
use http_body_util::Full;
use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use rustls::version::{TLS12, TLS13};

use crate::harness::certificates::{Authority, Issued};
use crate::harness::client::{Client, Http2};
use crate::harness::gateway::Served;
use crate::harness::tls::{Tls, settled};
use crate::harness::upstream::{Recorded, Upstream};

/// The host of the usual certificate.
const HOST: &str = "shop.test";

/// A gateway within TLS, with one public route.
struct World {
    upstream: Upstream,
    gateway: Served,
    authority: Authority,
}

impl World {
    async fn start() -> Self {
        Self::configured("", "").await
    }

    /// One certificate, for [`HOST`], with further lines in `[server]` and further sections.
    async fn configured(server: &str, sections: &str) -> Self {
        let authority = Authority::new();
        let usual = authority.issue("usual", &[HOST]);
        Self::showing(authority, &[&usual], server, sections).await
    }

    /// These certificates.
    async fn showing(authority: Authority, certificates: &[&Issued], server: &str, sections: &str) -> Self {
        let upstream = Upstream::start().await;
        let gateway = Served::start(&toml(&upstream, certificates, server, sections));
        Self { upstream, gateway, authority }
    }

    /// A client that trusts the gateway's authority.
    fn tls(&self) -> Tls {
        Tls::trusting(self.authority.roots())
    }

    /// A client of HTTP/1 in such a way.
    async fn client(&self, tls: &Tls) -> Client {
        tls.connector().client(self.gateway.address(), HOST).await
    }

    /// That an ordinary client is served.
    async fn serves(&self) {
        assert_eq!(self.client(&self.tls()).await.get("/").await.status, 200);
    }

    /// Returns once so many connections have failed for this reason.
    async fn failed(&self, reason: &str, times: f64) {
        let series = format!("bearward_connection_errors_total{{listener=\"127.0.0.1:0\",reason=\"{reason}\"}}");
        self.gateway.counted(&series, times).await;
    }
}

/// One public route to one upstream, within TLS.
fn toml(upstream: &Upstream, certificates: &[&Issued], server: &str, sections: &str) -> String {
    let certificates: Vec<String> = certificates.iter().map(|issued| issued.toml()).collect();
    let (certificates, url) = (certificates.join(", "), upstream.url());
    format!(
        "[server]\ntls = [{certificates}]\n{server}\n{sections}\n[[routes]]\npath = \"/*\"\npolicy = \"public\"\n\
         upstream = \"{url}\"\nbody_bytes = \"64KiB\"\n"
    )
}

/// That the upstream was told of TLS, and of the client's true address.
fn told_of_tls(seen: &Recorded) {
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert!(seen.all("forwarded")[0].starts_with("for=127.0.0.1;proto=https;host="), "{:?}", seen.all("forwarded"));
}

#[tokio::test]
async fn each_version_and_protocol_is_served() {
    let world = World::start().await;
    let mut asked = 0;
    for (version, name) in [(&TLS13, TLSv1_3), (&TLS12, TLSv1_2)] {
        for (alpn, expected, http2) in [
            (&["h2", "http/1.1"][..], Some("h2"), true),
            // The server's order counts: HTTP/2 serves many requests at once.
            (&["http/1.1", "h2"], Some("h2"), true),
            (&["h2"], Some("h2"), true),
            (&["http/1.1"], Some("http/1.1"), false),
            // Without ALPN the first bytes tell, as they do in clear.
            (&[], None, false),
            (&[], None, true),
        ] {
            let tls = world.tls().version(version).alpn(alpn);
            let stream = tls.connect(world.gateway.address(), HOST).await.unwrap();
            let (version, protocol, _) = settled(&stream);
            assert_eq!((version, protocol.as_deref()), (name, expected));
            let status = if http2 {
                let mut client = Http2::over(stream).await;
                let request = Request::get(format!("https://{HOST}/")).body(Full::default()).unwrap();
                client.ask(request).await.status
            } else {
                Client::over(stream).get("/").await.status
            };
            assert_eq!(status, 200, "{name:?} {alpn:?}");
            told_of_tls(&world.upstream.request(asked).await);
            asked += 1;
        }
    }
}

#[tokio::test]
async fn a_client_that_speaks_neither_protocol_is_refused() {
    let world = World::start().await;
    let refused = world.tls().alpn(&["spdy/3"]).connect(world.gateway.address(), HOST).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    world.failed("tls_handshake", 1.0).await;
    world.serves().await;
}

#[tokio::test]
async fn bytes_of_another_protocol_than_the_settled_one_are_refused() {
    let world = World::start().await;
    let mut client = world.client(&world.tls().alpn(&["http/1.1"])).await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(client.rest().await, b"");
    world.failed("head_malformed", 1.0).await;
    let mut client = world.client(&world.tls().alpn(&["h2"])).await;
    client.send(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    assert!(!client.rest().await.starts_with(b"HTTP/1.1"));
    world.failed("protocol", 1.0).await;
    assert_eq!(world.upstream.opened(), 0);
    world.serves().await;
}
