//! Who the client is, and what the upstream is told about it (`Forwarded`, RFC 7239, and the older `X-Forwarded-*`).
//!
//! 1. What a peer says about others is believed only where the peer is a trusted proxy. From any other peer the peer is
//!    the client, and all that it says about itself is replaced.
//! 2. From a trusted proxy the chain is read from its near end: each hop that is itself trusted is passed over, and the
//!    first that is not is the client. What cannot be read ends the search at the last hop that could.
//! 3. The chain that goes upstream is what a trusted proxy sent, continued by the peer; or the peer alone.
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
    let chain = if headers.contains_key(&X_FORWARDED_FOR) {
        listed(headers, &X_FORWARDED_FOR).map(address).collect::<Vec<_>>()
    } else {
        listed(headers, &FORWARDED).map(|element| forwarded_for(element).and_then(address)).collect()
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

/// Sets `Forwarded`, `X-Forwarded-For`, `-Proto` and `-Host`; `authority` is the one that was decided on.
pub(super) fn set_forwarded(headers: &mut HeaderMap, hop: Hop, authority: &str) {
    let peer = hop.peer.to_canonical();
    let proto = if hop.tls { "https" } else { "http" };

    let address = peer.to_string();
    let (opened, closed) = if peer.is_ipv6() { ("for=\"[", "]\";proto=") } else { ("for=", ";proto=") };
    let mut element = [opened, &address, closed, proto].concat();
    // A quoted string cannot hold a bare quote or backslash; no authority that was decided on has one.
    if !authority.is_empty() && !authority.contains(['"', '\\']) {
        element.extend([";host=\"", authority, "\""]);
    }
    continue_chain(headers, &FORWARDED, element, hop.trusted);
    continue_chain(headers, &X_FORWARDED_FOR, address, hop.trusted);

    // One proxy's word about scheme and host is kept only where it is one word; two of them would be two answers.
    if !(hop.trusted && single(headers, &X_FORWARDED_PROTO).is_some_and(|value| value == "http" || value == "https")) {
        headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    }
    if !(hop.trusted && single(headers, &X_FORWARDED_HOST).is_some_and(|value| !value.is_empty())) {
        match HeaderValue::from_str(authority) {
            Ok(value) if !authority.is_empty() => headers.insert(&X_FORWARDED_HOST, value),
            Ok(_) | Err(_) => headers.remove(&X_FORWARDED_HOST),
        };
    }
}

/// Puts `link` at the near end of the chain that a trusted proxy sent, or in place of whatever there is.
fn continue_chain(headers: &mut HeaderMap, name: &HeaderName, link: String, trusted: bool) {
    let mut chain = String::new();
    if trusted {
        for value in headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
            chain.push_str(value);
            chain.push_str(", ");
        }
    }
    let chain = if chain.is_empty() { link } else { chain + &link };
    match HeaderValue::try_from(chain) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
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

/// The `for` parameter of one `Forwarded` element (RFC 7239 section 4).
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
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

    #[test]
    fn an_untrusted_peer_replaces_and_a_trusted_one_continues() {
        let fields = [
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "public.example"),
        ];
        for (trusted, expected) in [
            (false, ["for=10.0.0.1;proto=http;host=\"api.test:8080\"", "10.0.0.1", "http", "api.test:8080"]),
            (
                true,
                [
                    "for=1.2.3.4, for=10.0.0.1;proto=http;host=\"api.test:8080\"",
                    "1.2.3.4, 10.0.0.1",
                    "https",
                    "public.example",
                ],
            ),
        ] {
            let mut headers: HeaderMap =
                fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
            let hop = Hop { peer: "10.0.0.1".parse().unwrap(), trusted, tls: false };
            set_forwarded(&mut headers, hop, "api.test:8080");
            for ((name, _), value) in fields.iter().zip(expected) {
                assert_eq!(headers.get_all(*name).iter().collect::<Vec<_>>(), [value], "{name}, trusted: {trusted}");
            }
        }
    }
}
