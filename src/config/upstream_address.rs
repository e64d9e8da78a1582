//! Where an upstream listens: `http://host:port`, and nothing more.
//!
//! A path is refused because the path that was decided on is the path that is sent; a user and a password because they
//! are secrets; `https` because this version speaks plain HTTP to upstreams.

use std::fmt;

use url::Url;

use super::fault::Wrong;

/// An upstream's host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads `http://host[:port][/]`.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let url = Url::parse(text).map_err(|why| Wrong::new(format!("not a URL: {why}"), HELP))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Wrong::new("an upstream's URL cannot have a user or a password", HELP));
        }
        if url.scheme() != "http" {
            return Err(Wrong::new(format!("`{text}` is not an http:// URL"), HELP));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            let help = format!(
                "write \"{}\": the path of the request is sent as it is, and `path` of a route says which are taken",
                url.origin().ascii_serialization()
            );
            return Err(Wrong::new(format!("`{text}` has a path, a query or a fragment"), help));
        }
        let host = url.host_str().ok_or_else(|| Wrong::new(format!("`{text}` has no host"), HELP))?;
        Ok(Self { host: host.to_owned(), port: url.port_or_known_default().unwrap_or(80) })
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host`, with the port where it is not the usual one: what it is called in `Host` (RFC 9110 section 7.2).
    pub fn host_field(&self) -> String {
        if self.port == 80 { self.host.clone() } else { self.authority() }
    }

    /// `host:port`, as a resolver takes it.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

const HELP: &str = "write the scheme, the host and the port: \"http://127.0.0.1:3000\"";

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn what_is_taken() {
        for (text, shown) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://127.0.0.1:3000/", "http://127.0.0.1:3000"),
            ("http://orders", "http://orders:80"),
            ("http://[::1]:3000", "http://[::1]:3000"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn the_usual_port_is_not_named() {
        for (text, host) in
            [("http://orders:8080", "orders:8080"), ("http://orders:80", "orders"), ("http://[::1]", "[::1]")]
        {
            assert_eq!(Address::parse(text).unwrap().host_field(), host);
        }
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "127.0.0.1:3000",
            "https://orders",
            "http://a/b",
            "http://a/?q",
            "http://a/#f",
            "http://u@a",
            "http://u:p@a",
            "unix:/run/x",
            "http://",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
