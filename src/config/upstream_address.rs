//! Where an upstream listens: `http://host:port`, `https://`, `h2c://`, or `unix:/path`, and nothing more.
//!
//! A path of a URL is refused because the path that was decided on is the path that is sent; a user and a password because
//! they are secrets.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use super::fault::Wrong;

/// Where an upstream listens, and what it speaks there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// At a host and a port.
    Host {
        /// What it speaks.
        scheme: Scheme,
        /// A name, an IPv4 address, or an IPv6 address in brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// At a Unix socket, where it speaks HTTP/1.1: an absolute path.
    Unix(PathBuf),
}

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP/1.1 in clear.
    Http,
    /// TLS, and within it HTTP/2 or HTTP/1.1, as the upstream chooses.
    Https,
    /// HTTP/2 in clear, by prior knowledge (RFC 9113 section 3.3).
    H2c,
}

impl Address {
    /// Reads `scheme://host[:port][/]` or `unix:/path`.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        let Some((scheme, rest)) = text.split_once("://") else { return Err(without_scheme(text)) };
        // A URL's host is read as that of http: another scheme's may be anything.
        let special = if scheme.eq_ignore_ascii_case("h2c") { format!("http://{rest}") } else { text.to_owned() };
        let url = Url::parse(&special).map_err(|why| Wrong::new(format!("not a URL: {why}"), HELP))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Wrong::new("an upstream's URL cannot have a user or a password", HELP));
        }
        let scheme = Scheme::named(scheme)
            .ok_or_else(|| Wrong::new(format!("`{text}` is not an http, https, h2c or unix URL"), HELP))?;
        let host = url.host_str().ok_or_else(|| Wrong::new(format!("`{text}` has no host"), HELP))?.to_owned();
        let address = Self::Host { scheme, host, port: url.port().unwrap_or(scheme.port()) };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            let help = format!(
                "write \"{address}\": the path of the request is sent as it is, and `path` of a route says which are taken"
            );
            return Err(Wrong::new(format!("`{text}` has a path, a query or a fragment"), help));
        }
        Ok(address)
    }

    /// `host`, with the port where it is not the usual one: what it is called in `Host` (RFC 9110 section 7.2). `localhost`
    /// for a Unix socket.
    pub fn host_field(&self) -> String {
        match self {
            Self::Host { scheme, host, port } if *port == scheme.port() => host.clone(),
            Self::Host { .. } | Self::Unix(_) => self.authority(),
        }
    }

    /// `host:port`, as a resolver takes it; `localhost` for a Unix socket.
    pub fn authority(&self) -> String {
        match self {
            Self::Host { host, port, .. } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl Scheme {
    fn named(text: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::H2c].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.name()))
    }

    /// How it is written in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http | Self::H2c => 80,
            Self::Https => 443,
        }
    }
}

/// Most upstreams speak HTTP in clear: what is wrong with the rest is said of that.
fn without_scheme(text: &str) -> Wrong {
    let help = match Address::parse(&format!("http://{text}")) {
        Ok(_) => format!("write what it speaks in front: \"http://{text}\", or https, or h2c"),
        Err(wrong) => wrong.help,
    };
    Wrong::new(format!("`{text}` has no scheme"), help)
}

fn unix(path: &str) -> Result<Address, Wrong> {
    let help = "write the absolute path of the socket: \"unix:/run/orders.sock\"";
    if !path.starts_with('/') || path.starts_with("//") || path.ends_with('/') || path.contains('\0') {
        return Err(Wrong::new(format!("`unix:{path}` does not name a socket by an absolute path"), help));
    }
    if path.len() > LONGEST_PATH {
        let what = format!("the path of a socket has at most {LONGEST_PATH} bytes; this one has {}", path.len());
        return Err(Wrong::new(what, "let the upstream listen at a shorter path"));
    }
    Ok(Address::Unix(path.into()))
}

/// What fits `sun_path` with its final zero (unix(7)).
const LONGEST_PATH: usize = 107;

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { scheme, host, port } => write!(f, "{}://{host}:{port}", scheme.name()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

const HELP: &str =
    "write the scheme, the host and the port: \"http://127.0.0.1:3000\"; or a socket: \"unix:/run/orders.sock\"";

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
            ("https://Orders.Example.com", "https://orders.example.com:443"),
            ("HTTPS://orders:8443/", "https://orders:8443"),
            ("h2c://ORDERS", "h2c://orders:80"),
            ("h2c://[::1]:50051", "h2c://[::1]:50051"),
            ("unix:/run/orders.sock", "unix:/run/orders.sock"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn the_usual_port_is_not_named() {
        for (text, host) in [
            ("http://orders:8080", "orders:8080"),
            ("http://orders:80", "orders"),
            ("http://[::1]", "[::1]"),
            ("https://orders:80", "orders:80"),
            ("https://orders:443", "orders"),
            ("h2c://orders:80", "orders"),
            ("unix:/run/orders.sock", "localhost"),
        ] {
            assert_eq!(Address::parse(text).unwrap().host_field(), host);
        }
    }

    #[test]
    fn what_is_refused() {
        let long = format!("unix:/{}", "x".repeat(107));
        for text in [
            "127.0.0.1:3000",
            "localhost:3000",
            "orders:3000/path",
            "ftp://orders",
            "grpc://orders",
            "http://a/b",
            "h2c://a/b",
            "http://a/?q",
            "https://a/#f",
            "http://u@a",
            "h2c://u:p@a",
            "unix:run/x",
            "unix:///run/x",
            "unix:/run/",
            "unix:",
            "http://",
            "h2c://",
            "h2c://a:99999",
            &long,
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
