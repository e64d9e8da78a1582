//! Clients behind a proxy that passes bytes on, and says first who they are (the PROXY protocol).

use crate::harness::certificates::Authority;
use crate::harness::client::Client;
use crate::harness::gateway::Served;
use crate::harness::tls::Tls;
use crate::harness::upstream::Upstream;

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 203.0.113.9\r\n\r\n";
/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

struct World {
    upstream: Upstream,
    gateway: Served,
}

impl World {
    async fn trusting(proxies: &str, server: &str) -> Self {
        let upstream = Upstream::start().await;
        let gateway = Served::start(&format!(
            "[server]\nproxy_protocol = true\ntrusted_proxies = {proxies}\n{server}\n[[routes]]\npath = \"/*\"\n\
             policy = \"public\"\nupstream = \"{}\"\n",
            upstream.url()
        ));
        Self { upstream, gateway }
    }

    /// Everything that is answered to these bytes, after which the client waits.
    async fn answered(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = Client::connect(self.gateway.address()).await;
        client.offer(bytes.as_ref()).await;
        String::from_utf8(client.rest().await).unwrap()
    }

    async fn failed(&self, reason: &str, times: f64) {
        let series = format!("bearward_connection_errors_total{{listener=\"127.0.0.1:0\",reason=\"{reason}\"}}");
        self.gateway.counted(&series, times).await;
    }
}

/// A header of version 2.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family, high, low], rest].concat()
}

/// Two addresses and two ports.
fn ends(source: &[u8], destination: &[u8]) -> Vec<u8> {
    [source, destination, &[0x30, 0x39, 0x01, 0xbb]].concat()
}

#[tokio::test]
async fn the_client_is_whom_the_proxy_names() {
    let world = World::trusting("[\"127.0.0.0/8\", \"198.51.100.7\"]", "").await;
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7];
    let v4 = ends(&[192, 0, 2, 7], &[192, 0, 2, 1]);
    // ALPN, and a field of 3000 bytes that nobody knows.
    let fields = [&v4[..], &[1, 0, 2, b'h', b'2'], &[0xe0, 0x0b, 0xb8], &[0; 3000]].concat();
    let unix = [0; 216];
    // The client, and what the upstream is told: of a trusted hop the chain is continued.
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    for (at, (header, client, chain)) in [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\r\n".to_vec(), "192.0.2.7", "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n".to_vec(), "2001:db8::1", "2001:db8::1"),
        (format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n").into_bytes(), longest, longest),
        (b"PROXY TCP4 198.51.100.7 192.0.2.1 1 2\r\n".to_vec(), "203.0.113.9", "203.0.113.9, 198.51.100.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "203.0.113.9", "203.0.113.9, 127.0.0.1"),
        (
            format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n").into_bytes(),
            "203.0.113.9",
            "203.0.113.9, 127.0.0.1",
        ),
        (binary(0x21, 0x11, &v4), "192.0.2.7", "192.0.2.7"),
        (binary(0x21, 0x11, &fields), "192.0.2.7", "192.0.2.7"),
        (binary(0x21, 0x21, &ends(&v6, &v6)), "2001:db8::1", "2001:db8::1"),
        (binary(0x21, 0x21, &ends(&mapped, &v6)), "192.0.2.7", "192.0.2.7"),
        // The proxy itself looks whether we are well, or has no address to tell.
        (binary(0x20, 0x00, &[]), "203.0.113.9", "203.0.113.9, 127.0.0.1"),
        (binary(0x20, 0x11, &v4), "203.0.113.9", "203.0.113.9, 127.0.0.1"),
        (binary(0x21, 0x00, &[]), "203.0.113.9", "203.0.113.9, 127.0.0.1"),
        (binary(0x21, 0x31, &unix), "203.0.113.9", "203.0.113.9, 127.0.0.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let shown = String::from_utf8_lossy(&header).into_owned();
        let mut connection = Client::connect(world.gateway.address()).await;
        // The header and the request in one go: each begins with its own first byte.
        assert_eq!(connection.ask([&header, REQUEST.as_bytes()].concat()).await.status, 200, "{shown}");
        assert_eq!(world.upstream.request(2 * at).await.all("x-forwarded-for"), [chain], "{shown}");
        let line: serde_json::Value = serde_json::from_str(world.gateway.access_lines().last().unwrap()).unwrap();
        assert_eq!(line["client.address"], client, "{shown}");
        // It holds for all requests of the connection, and stands once.
        assert_eq!(connection.ask(REQUEST).await.status, 200);
        assert_eq!(world.upstream.request(2 * at + 1).await.all("x-forwarded-for"), [chain], "{shown}");
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let world = World::trusting("[\"127.0.0.1\"]", "").await;
    let headers = [
        b"PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\r\n".to_vec(),
        binary(0x21, 0x11, &ends(&[192, 0, 2, 7], &[192, 0, 2, 1])),
    ];
    for header in headers {
        let mut client = Client::connect(world.gateway.address()).await;
        for byte in header {
            client.send([byte]).await;
        }
        assert_eq!(client.ask(REQUEST).await.status, 200);
    }
    for seen in world.upstream.requests() {
        assert_eq!(seen.all("x-forwarded-for"), ["192.0.2.7"]);
    }
}

#[tokio::test]
async fn what_is_no_header_ends_the_connection() {
    let world = World::trusting("[\"127.0.0.1\"]", "").await;
    let v4 = ends(&[192, 0, 2, 7], &[192, 0, 2, 1]);
    let mut refused = 0.0;
    for bytes in [
        REQUEST.as_bytes().to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 12345\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 12345 65536\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.07 192.0.2.1 12345 443\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::1 2001:db8::2 12345 443\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.7 192.0.2.1 12345 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\n".to_vec(),
        b"proxy TCP4 192.0.2.7 192.0.2.1 12345 443\r\n".to_vec(),
        b"PROXYTCP4 192.0.2.7 192.0.2.1 12345 443\r\n".to_vec(),
        [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 92], b"\r\n".to_vec()].concat(),
        [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 4096]].concat(),
        binary(0x11, 0x11, &v4),
        binary(0x22, 0x11, &v4),
        binary(0x21, 0x41, &v4),
        binary(0x21, 0x12, &v4),
        binary(0x21, 0x21, &v4),
        binary(0x21, 0x11, &v4[..11]),
        binary(0x21, 0x11, &[v4.clone(), vec![0; 4096]].concat()),
        [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let answer = world.answered([bytes, REQUEST.as_bytes().to_vec()].concat()).await;
        assert_eq!(answer, "", "{shown}");
        refused += 1.0;
        world.failed("proxy_malformed", refused).await;
    }
    assert_eq!(world.upstream.opened(), 0);
}

#[tokio::test]
async fn nobody_else_may_say_who_the_client_is() {
    let world = World::trusting("[\"192.0.2.1\"]", "").await;
    let header = "PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\r\n";
    assert_eq!(world.answered(format!("{header}{REQUEST}")).await, "");
    assert_eq!(world.answered(REQUEST).await, "");
    world.failed("proxy_untrusted", 2.0).await;
    assert_eq!(world.upstream.opened(), 0);
}

#[tokio::test]
async fn where_it_is_off_a_header_is_no_request() {
    let upstream = Upstream::start().await;
    let gateway = Served::start(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[[routes]]\npath = \"/*\"\npolicy = \"public\"\nupstream = \"{}\"\n",
        upstream.url()
    ));
    let mut client = Client::connect(gateway.address()).await;
    client.offer(format!("PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\r\n{REQUEST}").as_bytes()).await;
    assert!(client.rest().await.starts_with(b"HTTP/1.1 400 "));
    assert_eq!(upstream.opened(), 0);
}

#[tokio::test]
async fn a_header_has_the_time_of_a_head() {
    let world = World::trusting("[\"127.0.0.1\"]", "limits = { header_timeout = \"200ms\" }").await;
    for begun in ["", "PROXY TCP4 ", "\r\n\r\n"] {
        assert_eq!(world.answered(begun).await, "");
    }
    world.failed("proxy_timeout", 3.0).await;
}

#[tokio::test]
async fn who_leaves_within_a_header_is_a_fault_and_before_it_none() {
    let world = World::trusting("[\"127.0.0.1\"]", "").await;
    let mut client = Client::connect(world.gateway.address()).await;
    client.finish().await;
    assert_eq!(client.rest().await, b"");
    let mut client = Client::connect(world.gateway.address()).await;
    client.send("PROXY TCP4 ").await;
    client.finish().await;
    assert_eq!(client.rest().await, b"");
    world.failed("client_closed", 1.0).await;
}

#[tokio::test]
async fn it_stands_before_the_handshake() {
    let authority = Authority::new();
    let tls = format!("tls = [{}]", authority.issue("tls", &["shop.test"]).toml());
    let world = World::trusting("[\"127.0.0.1\"]", &tls).await;
    let connector = Tls::trusting(authority.roots()).connector();

    let mut stream = tokio::net::TcpStream::connect(world.gateway.address()).await.unwrap();
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, header).await.unwrap();
    let mut client = Client::over(connector.over(stream, "shop.test").await.unwrap());
    assert_eq!(client.ask(REQUEST).await.status, 200);
    let seen = world.upstream.request(0).await;
    assert_eq!((seen.all("x-forwarded-for"), seen.all("x-forwarded-proto")), (vec!["192.0.2.7"], vec!["https"]));

    assert!(connector.connect(world.gateway.address(), "shop.test").await.is_err(), "a handshake is no header");
    world.failed("proxy_malformed", 1.0).await;
    // A proxy's look at the port: a header and nothing more.
    let mut look = Client::connect(world.gateway.address()).await;
    look.send(binary(0x20, 0, &[])).await;
    look.finish().await;
    assert_eq!(look.rest().await, b"");
    let text = world.gateway.shared().telemetry().metrics.render();
    let faults = text.lines().filter(|line| line.starts_with("bearward_connection_errors_total{")).count();
    assert_eq!(faults, 1, "{text}");
}
