//! Options of which the value is a string of a certain form.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use url::Url;

use super::string;
use crate::config::declare::{Opt, Read, Value};
use crate::config::fault::{Faults, Wrong};
use crate::config::is_loopback;
use crate::config::nearest::suggest;
use crate::config::schema::{self, Schema};
use crate::config::store_address::StoreAddress;
use crate::config::units::{self, Size, SizeLimit};
use crate::config::upstream_address::Address;
use crate::policy::jwt::Algorithm;
use crate::policy::pattern::{HostPattern, RoutePattern};

/// A string that says something: not empty, no control characters, no blanks at its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Text(pub(in crate::config) String);

/// An origin as browsers write it (RFC 6454 section 6.2), or `*` for every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Origin(pub(in crate::config) String);

/// The origin of our own pages, of https or http.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct PageOrigin(pub(in crate::config) Url);

/// Declares the types that are a string of a form: what the file must say, for people and as JSON Schema, and how that is
/// read.
macro_rules! strings {
    ($($T:ty = $expected:literal, $schema:expr, $parse:expr;)+) => { $(
        impl Read for $T {
            const EXPECTED: &'static str = $expected;
            fn schema() -> Schema {
                $schema
            }
            fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
                let text = string(value, opt, Self::EXPECTED, faults)?;
                let hides = may_hold_a_secret(text);
                if hides {
                    faults.mask(&value.span());
                }
                let untold = |said: String| if hides { said.replace(text, "...") } else { said };
                let wrong: Wrong = match $parse(text) {
                    Ok(read) => return Some(read),
                    Err(wrong) => wrong,
                };
                faults.fault(&value.span(), untold(wrong.what), untold(wrong.help));
                None
            }
        }
    )+ };
}

strings! {
    Text = "a string", schema::text(r"^\S(.*\S)?$"), text;
    Duration = "a duration such as \"30s\"", schema::text(&units::duration_pattern()), units::duration;
    Size = "a size such as \"16KiB\"", schema::text(&units::size_pattern()), units::size;
    SizeLimit = "a size such as \"16KiB\", or \"none\"",
        schema::either([Size::schema(), schema::words(["none"])]), units::size_limit;
    SocketAddr = "an address and a port such as \"0.0.0.0:8080\"", schema::text("^.+:[0-9]{1,5}$"), socket;
    IpNet = "a network such as \"10.0.0.0/8\"", schema::text("^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"), network;
    Url = "an http:// or https:// URL", schema::text("^https?://"), url;
    Address = "a URL of http, https, h2c or unix", schema::text("^((https?|h2c)://|unix:/)"), Address::parse;
    StoreAddress = "the address of a store", schema::text("^(memory:$|file:.|rediss?://)"), StoreAddress::parse;
    Algorithm = "the name of a signature algorithm",
        schema::words(Self::ALL.iter().map(|algorithm| algorithm.name())), algorithm;
    Origin = "an origin such as \"https://app.example.com\"", schema::text(r"^(\*|[a-z][a-z0-9+.-]*://\S+)$"), origin;
    PageOrigin = "an origin such as \"https://app.example.com\"", schema::text(r"^https?://[^/\s]+$"), page_origin;
    HeaderName = "the name of a header", schema::text(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"), header_name;
    Method = "a method such as \"GET\"", schema::text("^[A-Z-]+$"), method;
    HostPattern = "a host such as \"api.example.com\" or \"*.example.com\"", schema::text(r"^\S+$"), |text| {
        HostPattern::parse(text).map_err(|why| Wrong::new(
            format!("`{text}` is not a host: {why}"),
            "write a host name without port, or `*.` and a domain: \"api.example.com\", \"*.example.com\"",
        ))
    };
    RoutePattern = "a path such as \"/orders/*\"", schema::text("^/"), |text| {
        RoutePattern::parse(text).map_err(|why| Wrong::new(
            format!("`{text}` is not a path pattern: {why}"),
            "write an exact path, with `{name}` for one segment, and `/*` at the end for all beneath: \"/orders/{id}/*\"",
        ))
    };
}

/// Whether the word may name an issuer, upstream, policy or route: it becomes a metric's label and part of messages.
pub(in crate::config) fn is_name(word: &str) -> bool {
    // `none` is what metrics say where there is no name.
    word != "none"
        && (1..=64).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// The shape of a name, as JSON Schema says it.
pub(in crate::config) fn name_schema() -> Schema {
    serde_json::json!({ "pattern": "^[A-Za-z0-9_.-]{1,64}$", "not": { "const": "none" } })
}

/// What a name may be.
pub(in crate::config) const NAME_HELP: &str = "use 1 to 64 of the characters A-Z a-z 0-9 _ . - (`none` alone is taken)";

/// A URL may hold a password; a key may stand where its file should.
fn may_hold_a_secret(text: &str) -> bool {
    text.split_once('@').is_some_and(|(before, _)| before.contains(':')) || text.contains(PRIVATE_KEY)
}

/// What the PEM text of a private key of any kind holds (RFC 7468).
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

fn text(text: &str) -> Result<Text, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("an empty string", "write a value, or leave the option out"));
    }
    if text.contains(PRIVATE_KEY) {
        let help = "put it in a file of its own that not everybody may read, and name that file";
        return Err(Wrong::new("this is a private key itself, and everybody who may read the file reads it", help));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(Wrong::new(
            format!("`{}` has blanks at its ends or control characters", text.escape_debug()),
            "the value is compared byte by byte: write it exactly",
        ));
    }
    Ok(Text(text.to_owned()))
}

fn socket(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let help = "write an IP address and a port, an IPv6 address in brackets: \"127.0.0.1:8080\", \"[::]:8080\"";
        Wrong::new(format!("`{text}` is not an address and a port"), help)
    })
}

fn network(text: &str) -> Result<IpNet, Wrong> {
    let help = "write an address and the length of its prefix: \"10.0.0.0/8\", \"192.0.2.7/32\"";
    let net: IpNet = text
        .parse()
        .or_else(|_| text.parse().map(|address: std::net::IpAddr| IpNet::from(address)))
        .map_err(|_| Wrong::new(format!("`{text}` is not a network"), help))?;
    if net.trunc() != net {
        let help = format!(
            "write \"{}\" for the network, or \"{}\" for that one address",
            net.trunc(),
            IpNet::from(net.addr())
        );
        return Err(Wrong::new(format!("`{text}` is an address within a network"), help));
    }
    Ok(net)
}

fn url(text: &str) -> Result<Url, Wrong> {
    let help = "write the whole address, and nothing else: \"https://HOST/PATH\"";
    if !text.contains(':') && text.contains('.') && !text.contains(char::is_whitespace) {
        return Err(Wrong::new(format!("`{text}` has no scheme"), format!("write \"https://{text}\"")));
    }
    let url = Url::parse(text).map_err(|why| Wrong::new(format!("not a URL: {why}"), help))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("a URL with a user, a password or a fragment", help));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Wrong::new(format!("`{text}` is not an http:// or https:// URL"), help));
    }
    Ok(url)
}

fn origin(text: &str) -> Result<Origin, Wrong> {
    let help = "write scheme, host and, unless it is the usual one, port, in lower case and without a slash at the end: \
                \"https://app.example.com\"";
    if text == "*" {
        return Ok(Origin(text.to_owned()));
    }
    if text == "null" {
        let what = "`null` is the origin of every sandboxed page, whoever made it";
        return Err(Wrong::new(what, "serve the page from an origin of its own, and name that"));
    }
    if text.contains('*') {
        let what = format!("`{text}` stands for many origins: each is compared as a whole");
        return Err(Wrong::new(what, "name each origin that may read; \"*\" alone stands for every one"));
    }
    let wrong = || Wrong::new(format!("`{text}` is not an origin as browsers write it"), help);
    let url = Url::parse(text).map_err(|_| wrong())?;
    // Apps in a shell of their own have schemes of their own, of which the URL standard knows no origin.
    let written = match url.scheme() {
        "http" | "https" => url.origin().ascii_serialization(),
        scheme => format!("{scheme}://{}", url.host_str().ok_or_else(wrong)?),
    };
    if written == text {
        return Ok(Origin(written));
    }
    Err(Wrong::new(format!("`{text}` is not an origin as browsers write it"), format!("write \"{written}\"")))
}

fn page_origin(text: &str) -> Result<PageOrigin, Wrong> {
    let help = "write the one origin at which browsers see this gateway: \"https://app.example.com\"";
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| {
        let meant = Url::parse(&format!("https://{text}")).ok().filter(|_| !text.contains("://"));
        let help =
            meant.map_or_else(|| help.to_owned(), |url| format!("write \"{}\"", url.origin().ascii_serialization()));
        Wrong::new(format!("`{text}` is not the origin of web pages"), help)
    })?;
    let written = url.origin().ascii_serialization();
    if written == text {
        return Ok(PageOrigin(url));
    }
    let what = format!("`{text}` is not an origin as browsers write it");
    Err(Wrong::new(what, format!("write \"{}\"", secured(&url).unwrap_or(written))))
}

/// What is to be written instead of an origin of plain http outside loopback.
pub(in crate::config) fn secured(origin: &Url) -> Option<String> {
    let is_open = origin.scheme() == "http" && !is_loopback(origin);
    is_open.then(|| origin.origin().ascii_serialization().replacen("http:", "https:", 1))
}

fn header_name(text: &str) -> Result<HeaderName, Wrong> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Wrong::new(format!("`{text}` is not the name of a header"), "write the name alone, such as \"link\"")
    })
}

fn algorithm(text: &str) -> Result<Algorithm, Wrong> {
    if text.eq_ignore_ascii_case("none") {
        let help =
            "name what the issuer signs with, for example [\"RS256\", \"ES256\"]; an unsigned token proves nothing";
        return Err(Wrong::new("the algorithm `none` is no signature", help));
    }
    Algorithm::named(text).ok_or_else(|| {
        let known = Algorithm::ALL.iter().map(|algorithm| algorithm.name());
        Wrong::new(format!("`{text}` is not a signature algorithm"), suggest(text, known))
    })
}

fn method(text: &str) -> Result<Method, Wrong> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if !text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
        return Err(Wrong::new(format!("`{text}` is not a method"), suggest(text, known)));
    }
    if matches!(text, "CONNECT" | "TRACE") {
        let what = format!("no route can be for {text}: such a request never goes to an upstream");
        return Err(Wrong::new(what, "leave it out; it is answered with 405 everywhere"));
    }
    Method::from_bytes(text.as_bytes())
        .map_err(|_| Wrong::new(format!("`{text}` is not a method"), suggest(text, known)))
}
