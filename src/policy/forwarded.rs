//! Who the client is, and what the upstream is told about it (`Forwarded`, RFC 7239, and the older `X-Forwarded-*`).
//!
//! 1. What a peer says about others is believed only where the peer is a trusted proxy. From any other peer the peer is
//!    the client, and all that it says about itself is replaced.
//! 2. From a trusted proxy the chain is read from its near end: each hop that is itself trusted is passed over, and the
//!    first that is not is the client. What cannot be read ends the search at the last hop that could.
//! 3. The chain that goes upstream is what a trusted proxy sent, continued by the peer; or the peer alone. It goes in both
//!    forms, which say the same: a proxy writes one of them, and may pass on the other from whoever sent it.
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

/// The address of the client: the peer, or what trusted proxies say is behind them.
///
/// An IPv4 address that came mapped into IPv6 is given as IPv4, so that one client has one address in every log.
pub fn client_address(headers: &HeaderMap, hop: Hop, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let peer = hop.peer.to_canonical();
    if !hop.trusted {
        return peer;
    }
    let chain: Vec<_> = match Chain::of(headers) {
        Chain::Older => listed(headers, &X_FORWARDED_FOR).map(address).collect(),
        Chain::Standard => listed(headers, &FORWARDED).map(|element| address(parameter(element, "for")?)).collect(),
    };
    let mut client = peer;
    for hop in chain.into_iter().rev() {
        let Some(address) = hop else { break };
        client = address;
        if !trusted(address) {
            break;
        }
    }
    client
}

/// The form in which a trusted proxy tells the chain.
enum Chain {
    /// `X-Forwarded-For`, with `-Proto` and `-Host` of its far end: what most write.
    Older,
    /// `Forwarded`, where there is no `X-Forwarded-For`.
    Standard,
}

impl Chain {
    fn of(headers: &HeaderMap) -> Self {
        let standard = headers.contains_key(FORWARDED) && !headers.contains_key(&X_FORWARDED_FOR);
        if standard { Self::Standard } else { Self::Older }
    }
}

/// What is known of the way to us.
#[derive(Default)]
struct Way {
    /// `X-Forwarded-For`.
    addresses: String,
    /// `Forwarded`.
    elements: String,
    /// The scheme that the far end used.
    proto: Option<&'static str>,
    /// The host that it asked for.
    host: Option<String>,
}

impl Way {
    /// What a trusted proxy says of it.
    fn told(headers: &HeaderMap) -> Self {
        match Chain::of(headers) {
            Chain::Older => {
                let proto = single(headers, &X_FORWARDED_PROTO).and_then(scheme);
                let host = single(headers, &X_FORWARDED_HOST).filter(|host| can_be_quoted(host)).map(str::to_owned);
                let mut elements = Vec::new();
                for (place, member) in listed(headers, &X_FORWARDED_FOR).enumerate() {
                    let far = if place == 0 { (proto, host.as_deref()) } else { (None, None) };
                    elements.push(element(address(member), far.0, far.1));
                }
                if elements.is_empty() && (proto.is_some() || host.is_some()) {
                    elements.push(element(None, proto, host.as_deref()));
                }
                Self { addresses: as_it_came(headers, &X_FORWARDED_FOR), elements: elements.join(", "), proto, host }
            }
            Chain::Standard => {
                let node = |element| {
                    parameter(element, "for").and_then(address).map_or(UNKNOWN.to_owned(), |at| at.to_string())
                };
                let far = |name| listed(headers, &FORWARDED).next().and_then(|element| parameter(element, name));
                Self {
                    addresses: listed(headers, &FORWARDED).map(node).collect::<Vec<_>>().join(", "),
                    elements: as_it_came(headers, &FORWARDED),
                    proto: far("proto").and_then(scheme),
                    host: far("host").filter(|host| can_be_quoted(host)).map(str::to_owned),
                }
            }
        }
    }
}

/// A node that nobody can name (RFC 7239 section 6.2).
const UNKNOWN: &str = "unknown";

/// Sets `Forwarded`, `X-Forwarded-For`, `-Proto` and `-Host`; `authority` is the one that was decided on.
pub(super) fn set_forwarded(headers: &mut HeaderMap, hop: Hop, authority: &str) {
    let peer = hop.peer.to_canonical();
    let proto = if hop.tls { "https" } else { "http" };
    let way = if hop.trusted { Way::told(headers) } else { Way::default() };

    let host = Some(authority).filter(|authority| can_be_quoted(authority));
    put(headers, &FORWARDED, joined(way.elements, &element(Some(peer), Some(proto), host)));
    put(headers, &X_FORWARDED_FOR, joined(way.addresses, &peer.to_string()));
    headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(way.proto.unwrap_or(proto)));
    put(headers, &X_FORWARDED_HOST, way.host.unwrap_or_else(|| authority.to_owned()));
}

/// One element of `Forwarded`.
fn element(node: Option<IpAddr>, proto: Option<&str>, host: Option<&str>) -> String {
    let mut element = match node {
        Some(IpAddr::V4(address)) => format!("for={address}"),
        Some(IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        None => format!("for={UNKNOWN}"),
    };
    if let Some(proto) = proto {
        element.extend([";proto=", proto]);
    }
    if let Some(host) = host {
        element.extend([";host=\"", host, "\""]);
    }
    element
}

/// A quoted string cannot hold a bare quote or backslash; no authority that was decided on has one.
fn can_be_quoted(host: &str) -> bool {
    !host.is_empty() && !host.contains(['"', '\\'])
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| *scheme == text)
}

fn joined(mut chain: String, link: &str) -> String {
    if !chain.is_empty() {
        chain.push_str(", ");
    }
    chain + link
}

fn as_it_came(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(", ")
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

/// The members of a list-valued field, all its lines as one list (RFC 9110 section 5.3).
fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    // What is no text becomes a member that no address is read from, so that it ends the search and is not skipped.
    headers.get_all(name).iter().flat_map(|value| value.to_str().unwrap_or("?").split(',')).map(str::trim)
}

/// A parameter of one `Forwarded` element (RFC 7239 section 4).
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
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
        client_address(&headers, hop, trusted).to_string()
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
        set_forwarded(&mut headers, hop, "api.test:8080");
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
                    "for=\"[2001:db8::1]\";proto=https, for=unknown, for=1.2.3.4",
                    "2001:db8::1, nobody, 1.2.3.4:5",
                    "https",
                    "api.test:8080",
                ],
            ),
            (
                vec![(forwarded, "For=\"[2001:db8::1]:5\";Proto=https;by=_a;host=public.example, for=_b")],
                [
                    "For=\"[2001:db8::1]:5\";Proto=https;by=_a;host=public.example, for=_b",
                    "2001:db8::1, unknown",
                    "https",
                    "public.example",
                ],
            ),
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
            let continued = |chain: &str, link: &str| joined(chain.to_owned(), link);
            let expected = [&*continued(elements, OURS), &*continued(addresses, "10.0.0.1"), proto, host];
            assert_eq!(sent(true, &fields), expected, "{fields:?}");
        }
    }
}
