//! Who the client is, and what the upstream is told about it (`Forwarded`, RFC 7239, and the older `X-Forwarded-*`).
//!
//! 1. What a peer says about others is believed only where the peer is a trusted proxy. From any other peer the peer is
//!    the client, and all that it says about itself is replaced.
//! 2. From a trusted proxy the chain is read from its near end: each hop that is itself trusted is passed over, and the
//!    first that is not is the client. What cannot be read ends the search at the last hop that could.
//! 3. The chain that goes upstream is what a trusted proxy sent, as far as the nearest hops, continued by the peer; or the peer
//!    alone. It goes in both forms, which say the same: a proxy writes one of them, and may pass on the other from whoever
//!    sent it. Scheme and host are those that the client used, not what anybody farther out says.
//!
//! No decision about access ever rests on these fields.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, HeaderValue};

/// The de-facto standard chain of clients and proxies.
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme that the client used.
pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host that the client asked for.
pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The next hop towards the client, as the connection shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The address at the other end of the connection.
    pub peer: IpAddr,
    /// Whether that peer is a trusted proxy.
    pub trusted: bool,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// Who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address. An IPv4 address that came mapped into IPv6 is given as IPv4, so that one client has one address in every
    /// log.
    pub address: IpAddr,
    /// How far out in the chain it stands: it is the peer, or so many members from the near end.
    hops: usize,
}

impl Client {
    /// The peer, or what trusted proxies say is behind them.
    pub fn of(headers: &HeaderMap, hop: Hop, trusted: impl Fn(IpAddr) -> bool) -> Self {
        let mut client = Self { address: hop.peer.to_canonical(), hops: 0 };
        if !hop.trusted {
            return client;
        }
        for (place, node) in Chain::of(headers).nodes().into_iter().rev().enumerate() {
            let Some(address) = node else { break };
            client = Self { address, hops: place + 1 };
            if !trusted(address) {
                break;
            }
        }
        client
    }
}

/// How many hops of a chain are read and told, the nearest ones: what anybody may write must not make heads grow.
const HOPS: usize = 32;

/// The chain as a trusted proxy tells it, its far end first.
enum Chain<'h> {
    /// By `X-Forwarded-For`, as most write it; `-Proto` and `-Host` are the client's.
    Older(Vec<&'h str>),
    /// By `Forwarded`, where there is no `X-Forwarded-For`.
    Standard(Vec<&'h str>),
}

impl<'h> Chain<'h> {
    fn of(headers: &'h HeaderMap) -> Self {
        if headers.contains_key(FORWARDED) && !headers.contains_key(&X_FORWARDED_FOR) {
            Self::Standard(members(headers, &FORWARDED))
        } else {
            Self::Older(members(headers, &X_FORWARDED_FOR))
        }
    }

    fn nodes(&self) -> Vec<Option<IpAddr>> {
        match self {
            Self::Older(members) => members.iter().map(|member| address(member)).collect(),
            Self::Standard(members) => members.iter().map(|member| address(parameter(member, "for")?)).collect(),
        }
    }
}

/// What is known of the way to us.
#[derive(Default)]
struct Way {
    /// `X-Forwarded-For`.
    addresses: String,
    /// `Forwarded`.
    elements: String,
    /// The scheme that the client used.
    proto: Option<&'static str>,
    /// The host that it asked for.
    host: Option<String>,
}

impl Way {
    /// What a trusted proxy says of it. Scheme and host are what the proxy that the client spoke to says: whatever stands
    /// farther out in the chain may be of the client's own making.
    fn told(headers: &HeaderMap, client: Client) -> Self {
        let (chain, host) = (Chain::of(headers), |host: &str| can_be_quoted(host).then(|| host.to_owned()));
        let nodes = chain.nodes();
        let clients = nodes.len().checked_sub(client.hops.max(1));
        match chain {
            Chain::Older(members) => {
                let proto = single(headers, &X_FORWARDED_PROTO).and_then(scheme);
                let host = single(headers, &X_FORWARDED_HOST).and_then(host);
                let said = |place| if clients == Some(place) { (proto, host.as_deref()) } else { (None, None) };
                let mut elements: Vec<_> =
                    nodes.iter().enumerate().map(|(place, node)| element(*node, said(place))).collect();
                if elements.is_empty() && (proto.is_some() || host.is_some()) {
                    elements.push(element(None, (proto, host.as_deref())));
                }
                Self { addresses: members.join(", "), elements: elements.join(", "), proto, host }
            }
            Chain::Standard(members) => {
                let clients = clients.and_then(|place| members.get(place));
                let said = |name| clients.and_then(|member| parameter(member, name));
                Self {
                    addresses: nodes.iter().map(|node| named(*node)).collect::<Vec<_>>().join(", "),
                    // A quote that is not closed would quote what comes behind it.
                    elements: members
                        .iter()
                        .map(|member| if is_quoted_well(member) { member } else { "for=unknown" })
                        .collect::<Vec<_>>()
                        .join(", "),
                    proto: said("proto").and_then(scheme),
                    host: said("host").and_then(host),
                }
            }
        }
    }
}

/// Sets `Forwarded`, `X-Forwarded-For`, `-Proto` and `-Host`; `authority` is the one that was decided on.
pub(super) fn set_forwarded(headers: &mut HeaderMap, hop: Hop, client: Client, authority: &str) {
    let peer = hop.peer.to_canonical();
    let proto = if hop.tls { "https" } else { "http" };
    let way = if hop.trusted { Way::told(headers, client) } else { Way::default() };

    let host = Some(authority).filter(|authority| can_be_quoted(authority));
    put(headers, &FORWARDED, joined(way.elements, element(Some(peer), (Some(proto), host))));
    put(headers, &X_FORWARDED_FOR, joined(way.addresses, peer.to_string()));
    headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(way.proto.unwrap_or(proto)));
    put(headers, &X_FORWARDED_HOST, way.host.unwrap_or_else(|| authority.to_owned()));
}

/// One element of `Forwarded`: a node, the scheme that it used and the host that it asked for.
fn element(node: Option<IpAddr>, (proto, host): (Option<&str>, Option<&str>)) -> String {
    let (opened, closed) = if node.is_some_and(|address| address.is_ipv6()) { ("\"[", "]\"") } else { ("", "") };
    let [by, proto] = proto.map_or([""; 2], |proto| [";proto=", proto]);
    let [asked, host, end] = host.map_or([""; 3], |host| [";host=\"", host, "\""]);
    ["for=", opened, &named(node), closed, by, proto, asked, host, end].concat()
}

/// Its address, or the word for a node that nobody can name (RFC 7239 section 6.2).
fn named(node: Option<IpAddr>) -> String {
    node.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}

/// A quoted string cannot hold a bare quote or backslash; no authority that was decided on has one.
fn can_be_quoted(host: &str) -> bool {
    !host.is_empty() && !host.contains(['"', '\\'])
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| *scheme == text)
}

fn joined(chain: String, link: String) -> String {
    if chain.is_empty() { link } else { [&chain, ", ", &link].concat() }
}

/// What cannot be said is not said.
fn put(headers: &mut HeaderMap, name: &HeaderName, value: String) {
    match HeaderValue::try_from(value) {
        Ok(value) if !value.is_empty() => headers.insert(name, value),
        Ok(_) | Err(_) => headers.remove(name),
    };
}

/// The value of a field that stands once and holds one member.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    (values.next().is_none() && !value.contains(',')).then_some(value)
}

/// The nearest members of a list-valued field, all its lines as one list (RFC 9110 sections 5.3 and 5.6.1).
fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    // What is no text becomes a member that no address is read from, so that it ends the search and is not skipped.
    let lines = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    let mut members: Vec<_> = lines.flat_map(|line| parts(line, ',')).filter(|member| !member.is_empty()).collect();
    members.drain(..members.len().saturating_sub(HOPS));
    members
}

/// Divides a text where it is not quoted (RFC 9110 section 5.6.4).
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (quotes, mut quoted) = (is_quoted_well(text), false);
    let divides = move |letter| {
        quoted ^= quotes && letter == '"';
        letter == separator && !quoted
    };
    text.split(divides).map(str::trim)
}

/// Whether every quote is closed; one that is not quotes nothing.
fn is_quoted_well(text: &str) -> bool {
    text.matches('"').count().is_multiple_of(2)
}

/// A parameter of one `Forwarded` element (RFC 7239 section 4).
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    parts(element, ';').find_map(|pair| {
        let (known, value) = pair.split_once('=')?;
        known.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// An address with or without port, an IPv6 one with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUSTED: &str = "10.";

    fn client(peer: &str, fields: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let trusted = |address: IpAddr| address.to_string().starts_with(TRUSTED);
        let peer: IpAddr = peer.parse().unwrap();
        let hop = Hop { peer, trusted: trusted(peer.to_canonical()), tls: false };
        Client::of(&headers, hop, trusted).address.to_string()
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_not_trusted() {
        let xff = "x-forwarded-for";
        for (peer, fields, expected, why) in [
            ("192.0.2.1", vec![(xff, "198.51.100.7")], "192.0.2.1", "an untrusted peer is not believed"),
            ("10.0.0.1", vec![], "10.0.0.1", "a trusted peer that says nothing"),
            ("10.0.0.1", vec![(xff, "198.51.100.7")], "198.51.100.7", "a trusted peer is believed"),
            ("10.0.0.1", vec![(xff, "203.0.113.9, 198.51.100.7, 10.0.0.2")], "198.51.100.7", "trusted hops are passed"),
            ("10.0.0.1", vec![(xff, "203.0.113.9"), (xff, "198.51.100.7")], "198.51.100.7", "two lines are one list"),
            ("10.0.0.1", vec![(xff, "10.0.0.3, 10.0.0.2")], "10.0.0.3", "all trusted: the far end"),
            ("10.0.0.1", vec![(xff, "203.0.113.9, nonsense, 10.0.0.2")], "10.0.0.2", "what is unreadable ends it"),
            ("10.0.0.1", vec![(xff, "[2001:db8::1]:443")], "2001:db8::1", "IPv6 with port"),
            ("10.0.0.1", vec![(xff, "198.51.100.7:1234")], "198.51.100.7", "IPv4 with port"),
            ("::ffff:10.0.0.1", vec![(xff, "::ffff:198.51.100.7")], "198.51.100.7", "mapped addresses are IPv4"),
            (
                "10.0.0.1",
                vec![("forwarded", "for=\"[2001:db8::2]\";proto=https, For=10.0.0.9")],
                "2001:db8::2",
                "RFC 7239",
            ),
            (
                "10.0.0.1",
                vec![("forwarded", "for=_hidden, for=10.0.0.9")],
                "10.0.0.9",
                "an obfuscated node is no address",
            ),
            (
                "10.0.0.1",
                vec![("forwarded", "for=9.9.9.9;host=\"x,for=6.6.6.6\"")],
                "9.9.9.9",
                "what is quoted is no member",
            ),
            ("10.0.0.1", vec![("forwarded", "for=\"6.6.6.6, for=9.9.9.9")], "9.9.9.9", "unless the quote stays open"),
        ] {
            assert_eq!(client(peer, &fields), expected, "{why}");
        }
    }

    /// What goes upstream of these fields: `Forwarded`, `X-Forwarded-For`, `-Proto`, `-Host`.
    fn sent(trusted: bool, fields: &[(&'static str, &str)]) -> [String; 4] {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let hop = Hop { peer: "10.0.0.1".parse().unwrap(), trusted, tls: false };
        let client = Client::of(&headers, hop, |address| address.to_string().starts_with(TRUSTED));
        set_forwarded(&mut headers, hop, client, "api.test:8080");
        ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| {
            let values: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
            values.join(" | ")
        })
    }

    const OURS: &str = "for=10.0.0.1;proto=http;host=\"api.test:8080\"";

    #[test]
    fn what_an_untrusted_peer_says_of_itself_is_replaced() {
        let fields = [
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "public.example"),
        ];
        for fields in [&fields[..], &[]] {
            assert_eq!(sent(false, fields), [OURS, "10.0.0.1", "http", "api.test:8080"]);
        }
    }

    #[test]
    fn a_trusted_peers_chain_is_continued_and_told_in_both_forms() {
        let (forwarded, xff, proto, host) = ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host");
        let (https, public) = ((proto, "https"), (host, "public.example"));
        for (fields, expected) in [
            (vec![], ["", "", "http", "api.test:8080"]),
            (
                vec![(xff, "1.2.3.4"), https, public],
                ["for=1.2.3.4;proto=https;host=\"public.example\"", "1.2.3.4", "https", "public.example"],
            ),
            (
                vec![(xff, "2001:db8::1, nobody"), (xff, "1.2.3.4:5"), https],
                [
                    "for=\"[2001:db8::1]\", for=unknown, for=1.2.3.4;proto=https",
                    "2001:db8::1, nobody, 1.2.3.4:5",
                    "https",
                    "api.test:8080",
                ],
            ),
            (
                vec![(forwarded, "for=_b, For=\"[2001:db8::1]:5\";Proto=https;by=_a;host=public.example")],
                [
                    "for=_b, For=\"[2001:db8::1]:5\";Proto=https;by=_a;host=public.example",
                    "unknown, 2001:db8::1",
                    "https",
                    "public.example",
                ],
            ),
            // The client's own words stand before those of the proxy that it spoke to.
            (
                vec![
                    (forwarded, "for=6.6.6.6;proto=https;host=evil.example"),
                    (forwarded, "for=1.2.3.4;proto=https;host=public.example, for=10.0.0.2;proto=http;host=inner"),
                ],
                [
                    "for=6.6.6.6;proto=https;host=evil.example, for=1.2.3.4;proto=https;host=public.example, \
                     for=10.0.0.2;proto=http;host=inner",
                    "6.6.6.6, 1.2.3.4, 10.0.0.2",
                    "https",
                    "public.example",
                ],
            ),
            (
                vec![(forwarded, "for=\"6.6.6.6, for=1.2.3.4")],
                ["for=unknown, for=1.2.3.4", "6.6.6.6, 1.2.3.4", "http", "api.test:8080"],
            ),
            (
                vec![(xff, "6.6.6.6, 1.2.3.4, 10.0.0.2"), https],
                [
                    "for=6.6.6.6, for=1.2.3.4;proto=https, for=10.0.0.2",
                    "6.6.6.6, 1.2.3.4, 10.0.0.2",
                    "https",
                    "api.test:8080",
                ],
            ),
            (vec![(xff, ",, ,1.2.3.4,")], ["for=1.2.3.4", "1.2.3.4", "http", "api.test:8080"]),
            // What may be of whoever the proxy passes on, it does not say itself.
            (
                vec![(xff, "1.2.3.4"), (forwarded, "for=6.6.6.6;proto=https")],
                ["for=1.2.3.4", "1.2.3.4", "http", "api.test:8080"],
            ),
            (vec![(forwarded, "for=1.2.3.4"), https, public], ["for=1.2.3.4", "1.2.3.4", "http", "api.test:8080"]),
            (vec![https], ["for=unknown;proto=https", "", "https", "api.test:8080"]),
            // Two words about it would be two answers.
            (
                vec![(xff, "1.2.3.4"), https, (proto, "http"), (host, "a, b")],
                ["for=1.2.3.4", "1.2.3.4", "http", "api.test:8080"],
            ),
            (
                vec![(xff, "1.2.3.4"), (proto, "wss"), (host, "a\"b")],
                ["for=1.2.3.4", "1.2.3.4", "http", "api.test:8080"],
            ),
        ] {
            let [elements, addresses, proto, host] = expected;
            let continued = |chain: &str, link: &str| joined(chain.to_owned(), link.to_owned());
            let expected = [&*continued(elements, OURS), &*continued(addresses, "10.0.0.1"), proto, host];
            assert_eq!(sent(true, &fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn however_long_a_chain_is_the_nearest_of_it_are_told() {
        for (name, member) in
            [("x-forwarded-for", "1.2.3.4,"), ("forwarded", "for=1.2.3.4,"), ("x-forwarded-for", "?,")]
        {
            let [elements, addresses, ..] = sent(true, &[(name, &member.repeat(2000))]);
            assert_eq!(elements.split(',').count(), HOPS + 1, "{name}");
            assert_eq!(addresses.split(',').count(), HOPS + 1, "{name}");
        }
    }
}
