//! The request as it is decided on: read once, refused where two readers could differ, and passed on as it was read.
//!
//! The rules of the head, in this order:
//!
//! 1. at most so many header fields and bytes;
//! 2. CONNECT and TRACE are not for a gateway (405);
//! 3. one `Host`, which is a name or an address with a valid port, and says what `:authority` or the target says
//!    (RFC 9110 section 7.2, RFC 9112 section 3.2);
//! 4. `Transfer-Encoding` is one `chunked` alone (RFC 9112 section 6.1), `Content-Length` a number below 2^63;
//! 5. `Expect` is `100-continue` alone (RFC 9110 section 10.1.1);
//! 6. the target is in origin-form or absolute-form (`http`, `https`, no user info), or is `*` with OPTIONS, and
//!    something is left of it without its fragment, which the parser cuts off; over HTTP/2 it begins with `/`;
//! 7. the path has no dot segment, no empty segment but a last one, no `;`, no backslash, no control or raw non-ASCII
//!    byte, and no percent-encoding of `\`, `;`, a control byte, bytes that are not UTF-8, or what decodes to another
//!    percent-encoding;
//! 8. a percent-encoded `/` stays encoded. Whether one may be there at all is the [route](super::route)'s to say; in no
//!    case does it stand at a segment's end or beside a dot segment, so that no reader finds another path in it.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Uri, Version};

use super::reject::{HeadLimit, Reject};

/// How large a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// The request line and all fields, in bytes.
    pub bytes: usize,
    /// The number of fields.
    pub fields: usize,
}

impl HeadLimits {
    /// How many fields a head may have.
    pub const FIELDS: usize = 100;
}

/// A request that reads one way only.
#[derive(Debug)]
pub struct RequestView<'a> {
    method: &'a Method,
    headers: &'a HeaderMap,
    authority: &'a str,
    host: Cow<'a, str>,
    target: Target<'a>,
    query: Option<&'a str>,
}

#[derive(Debug)]
enum Target<'a> {
    /// `OPTIONS *`.
    Server,
    Path {
        raw: &'a str,
        decoded: Cow<'a, str>,
        encoded_slash: bool,
    },
}

impl<'a> RequestView<'a> {
    /// Reads a head by the rules above.
    ///
    /// # Errors
    ///
    /// `head_too_large`, `method_not_allowed`, `request_malformed` or `path_ambiguous`.
    pub fn new(
        method: &'a Method,
        uri: &'a Uri,
        version: Version,
        headers: &'a HeaderMap,
        limits: HeadLimits,
    ) -> Result<Self, Reject> {
        if headers.len() > limits.fields {
            return Err(Reject::HeadTooLarge { limit: HeadLimit::Fields(limits.fields) });
        }
        if head_bytes(method, uri, headers) > limits.bytes {
            return Err(Reject::HeadTooLarge { limit: HeadLimit::Bytes(limits.bytes) });
        }
        if matches!(*method, Method::CONNECT | Method::TRACE) {
            return Err(Reject::MethodNotAllowed { allow: PROXIED_METHODS.to_owned() });
        }
        let authority = authority(uri, version, headers)?;
        let host = host(authority)?;
        framing(version, headers)?;
        expectation(headers)?;
        let target = if uri.path() == "*" && method == Method::OPTIONS {
            Target::Server
        } else {
            let raw = uri.path();
            if !raw.starts_with('/') || !is_path_alone(uri, version) {
                return malformed("the request target is not a path");
            }
            let decoded = decode_path(raw).map_err(|what| Reject::PathAmbiguous { what })?;
            Target::Path { raw, encoded_slash: has_encoded_slash(&decoded), decoded }
        };
        Ok(Self { method, headers, authority, host, target, query: uri.query() })
    }

    /// The method.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The header fields, all of them.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// `Host`, as it was sent: what the upstream is told.
    pub fn authority(&self) -> &'a str {
        self.authority
    }

    /// The host in lower case, without port and final dot: what routes are found by.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether this is `OPTIONS *`, which asks about the server and not about a path (RFC 9110 section 9.3.7).
    pub fn asks_about_server(&self) -> bool {
        matches!(self.target, Target::Server)
    }

    /// The path, percent-decoded once but for slashes, which stand as `%2F` where they were encoded: what routes are found
    /// by. `*` for `OPTIONS *`.
    pub fn path(&self) -> &str {
        match &self.target {
            Target::Server => "*",
            Target::Path { decoded, .. } => decoded,
        }
    }

    /// Whether a segment of the path holds an encoded slash.
    pub fn has_encoded_slash(&self) -> bool {
        matches!(self.target, Target::Path { encoded_slash: true, .. })
    }

    /// The path as it was sent: what the upstream is asked for.
    pub fn raw_path(&self) -> &'a str {
        match self.target {
            Target::Server => "*",
            Target::Path { raw, .. } => raw,
        }
    }

    /// The query as it was sent, without `?`. It never changes the decision, but for a token in it.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// Whether the query has a parameter `access_token` (RFC 6750 section 2.3), which is not a credential here.
    pub fn has_token_in_query(&self) -> bool {
        self.query.is_some_and(|query| {
            query.split('&').any(|pair| {
                let name = pair.split_once('=').map_or(pair, |(name, _)| name);
                name == "access_token" || percent_decode(name).is_ok_and(|name| name == "access_token")
            })
        })
    }
}

/// What `Allow` names for the methods that no route can be for.
const PROXIED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

fn malformed<T>(rule: &'static str) -> Result<T, Reject> {
    Err(Reject::RequestMalformed { rule })
}

/// The size of the head as HTTP/1.1 would write it.
fn head_bytes(method: &Method, uri: &Uri, headers: &HeaderMap) -> usize {
    let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    let line = method.as_str().len() + target + " HTTP/1.1\r\n ".len();
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    line + fields + "\r\n".len()
}

/// Whether the target without scheme and authority, which is what the upstream is sent, is the path that the whole reads as.
///
/// `http` reads a path that is missing as `/`, also where it stood before a fragment alone; sent on, that one is no target.
fn is_path_alone(uri: &Uri, version: Version) -> bool {
    let Some(target) = uri.path_and_query() else { return false };
    // RFC 9113 section 8.3.1; HTTP/1.1 has `http://host?query`, where the path is known to be `/`.
    let begins = version != Version::HTTP_2 || target.as_str().starts_with('/');
    begins && Uri::from(target.clone()).path() == uri.path()
}

/// The one authority of the request.
fn authority<'a>(uri: &'a Uri, version: Version, headers: &'a HeaderMap) -> Result<&'a str, Reject> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return malformed("there is more than one Host");
    }
    let host = match host {
        None => None,
        Some(value) => match value.to_str() {
            Ok(text) => Some(text),
            Err(_) => return malformed("the Host is not plain text"),
        },
    };
    if uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return malformed("the request target has a scheme other than http and https");
    }
    match (uri.authority().map(http::uri::Authority::as_str), host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(host),
        (Some(_), Some(_)) => malformed("the Host differs from the request target's authority"),
        // HTTP/2 sends `:authority` instead (RFC 9113 section 8.3.1).
        (Some(authority), None) if version == Version::HTTP_2 => Ok(authority),
        (None, Some(host)) => Ok(host),
        (Some(_) | None, None) => malformed("there is no Host"),
    }
}

/// The name of an authority `name [ ":" port ]`, in lower case and without a final dot (RFC 3986 section 3.2.2).
fn host(authority: &str) -> Result<Cow<'_, str>, Reject> {
    let (name, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return malformed("the Host is malformed") };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return malformed("the Host is malformed");
            }
            (&authority[..address.len() + 2], after)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (name, port) = authority.split_at(end);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if !name.bytes().all(plain) {
                return malformed("the Host is malformed");
            }
            (name, port)
        }
    };
    if !port.is_empty() {
        let digits = port.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        if digits.and_then(|digits| digits.parse::<u16>().ok()).is_none() {
            return malformed("the Host has a malformed port");
        }
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.ends_with('.') || name.starts_with('.') || name.contains("..") {
        return malformed("the Host is empty or has an empty label");
    }
    Ok(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// hyper frames by `Transfer-Encoding` whatever else it names, and would pass the rest on: only `chunked` is taken.
/// One length is left by now, in digits, but it may be one that other readers' integers do not hold.
fn framing(version: Version, headers: &HeaderMap) -> Result<(), Reject> {
    let length = headers.get(CONTENT_LENGTH);
    if length.is_some_and(|length| length.to_str().map_or(true, |digits| digits.parse::<i64>().is_err())) {
        return malformed("the Content-Length is not a number below 2^63");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if version < Version::HTTP_11 {
        return malformed("Transfer-Encoding stands in an HTTP/1.0 request");
    }
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return malformed("the Transfer-Encoding is not `chunked` alone");
    }
    Ok(())
}

fn expectation(headers: &HeaderMap) -> Result<(), Reject> {
    let known = headers.get_all(EXPECT).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if known { Ok(()) } else { malformed("the Expect is not `100-continue`") }
}

/// Decodes a path once, and refuses it where another reader could decode or normalise it differently.
fn decode_path(raw: &str) -> Result<Cow<'_, str>, &'static str> {
    for byte in raw.bytes() {
        match byte {
            b'\\' => return Err("a backslash"),
            b';' => return Err("a path parameter (`;`)"),
            0x80.. => return Err("a byte outside ASCII that is not percent-encoded"),
            0..=0x20 | 0x7f => return Err("a control byte or blank"),
            _ => {}
        }
    }
    let decoded = percent_decode(raw)?;
    let segments = decoded.split('/').skip(1);
    let last = segments.clone().count() - 1;
    for (at, segment) in segments.enumerate() {
        match segment {
            "." | ".." => return Err("a dot segment"),
            "" if at != last => return Err("an empty segment (`//`)"),
            _ => {}
        }
    }
    if has_encoded_slash(&decoded) {
        decoded.split('/').try_for_each(divided)?;
    }
    Ok(decoded)
}

/// Whether a segment reads as ordinary segments too where its encoded slashes divide it.
fn divided(segment: &str) -> Result<(), &'static str> {
    segment.split(ENCODED_SLASH).try_for_each(|part| match part {
        "." | ".." => Err("a dot segment"),
        "" if !segment.is_empty() => Err("a percent-encoded slash at the end of a segment"),
        _ => Ok(()),
    })
}

/// The search for one byte is so much quicker that it goes first: hardly any path has a `%`.
fn has_encoded_slash(decoded: &str) -> bool {
    decoded.contains('%') && decoded.contains(ENCODED_SLASH)
}

/// How an encoded slash stands in a decoded path. Nothing else decodes to this: `%25` before two hex digits is refused.
const ENCODED_SLASH: &str = "%2F";

/// Decodes once; an encoded slash stays what it is.
fn percent_decode(text: &str) -> Result<Cow<'_, str>, &'static str> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    // Where the last `%` that was encoded itself stands.
    let mut percent = None;
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let byte = if byte == b'%' {
            let (Some(high), Some(low)) = (after.first().and_then(hex_digit), after.get(1).and_then(hex_digit)) else {
                return Err("a `%` that no two hex digits follow");
            };
            rest = &after[2..];
            match high << 4 | low {
                b'/' => {
                    decoded.extend_from_slice(ENCODED_SLASH.as_bytes());
                    continue;
                }
                b'\\' => return Err("a percent-encoded backslash"),
                b';' => return Err("a percent-encoded `;`"),
                0..=0x1f | 0x7f => return Err("a percent-encoded control byte"),
                b'%' => {
                    percent = Some(decoded.len());
                    b'%'
                }
                plain => plain,
            }
        } else {
            rest = after;
            byte
        };
        decoded.push(byte);
        // However the two digits were written, who decodes twice reads something else.
        if let Some([b'%', high, low]) = percent.and_then(|at| decoded.get(at..))
            && hex_digit(high).and(hex_digit(low)).is_some()
        {
            return Err("a double percent-encoding");
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| "percent-encoded bytes that are not UTF-8")
}

fn hex_digit(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_read_two_ways_are_refused() {
        for (raw, expected) in [
            ("/", Some("/")),
            ("/orders/7", Some("/orders/7")),
            ("/orders/", Some("/orders/")),
            ("/caf%C3%A9", Some("/café")),
            ("/a%20b", Some("/a b")),
            ("/%61", Some("/a")),
            ("/a%2", None),
            ("/a%zz", None),
            ("/..", None),
            ("/a/../b", None),
            ("/a/./b", None),
            ("/a/%2e%2e/b", None),
            ("/a/%2E/b", None),
            ("/a/.%2e", None),
            ("//a", None),
            ("/a//b", None),
            ("/a//", None),
            ("/a;x=1", None),
            ("/..;/a", None),
            ("/a%3bx", None),
            ("/a%2fb", Some("/a%2Fb")),
            ("/a%2Fb/c", Some("/a%2Fb/c")),
            ("/a%2Fb%2fc", Some("/a%2Fb%2Fc")),
            ("/%2f", None),
            ("/%2fa", None),
            ("/a%2f", None),
            ("/a%2f/b", None),
            ("/a/%2fb", None),
            ("/a%2f%2fb", None),
            ("/a%2f..%2fb", None),
            ("/..%2fa", None),
            ("/a%2f%2e%2e", None),
            ("/a%2f.", None),
            ("/a%2f...", Some("/a%2F...")),
            ("/a%252fb", None),
            ("/a%252Fb", None),
            ("/a%5cb", None),
            ("/a\\b", None),
            ("/a%00", None),
            ("/a%0a", None),
            ("/a%7f", None),
            ("/a%252e", None),
            ("/a%25%32e", None),
            ("/a%25%32%65", None),
            ("/a%25%32Fb", None),
            ("/a%252%46b", None),
            ("/a%25%2fb", Some("/a%%2Fb")),
            ("/a%25zz", Some("/a%zz")),
            ("/a%25", Some("/a%")),
            ("/caf\u{e9}", None),
            ("/a%ff", None),
            ("/a%c3", None),
            ("/a%ed%a0%80", None),
            ("/...", Some("/...")),
            ("/.well-known/x", Some("/.well-known/x")),
        ] {
            assert_eq!(decode_path(raw).ok().as_deref(), expected, "{raw}");
        }
    }

    /// What is decided on decodes to nothing further: each `%` with two hex digits in it is a slash that was encoded once.
    #[test]
    fn what_is_left_encoded_is_a_slash() {
        const ALPHABET: [char; 7] = ['%', '2', '5', '3', 'F', 'a', '.'];
        // All of up to so many characters, and those after an encoded `%`.
        let mut paths = Vec::new();
        for (start, length) in [("/a", 5), ("/a%25", 5)] {
            let mut longest = vec![start.to_owned()];
            for _ in 0..length {
                longest = longest.iter().flat_map(|path| ALPHABET.map(|next| format!("{path}{next}"))).collect();
                paths.extend_from_slice(&longest);
            }
        }
        let encodings = |text: &str| -> Vec<String> {
            let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let found = text.match_indices('%').filter_map(|(at, _)| text.get(at..at + 3));
            found.filter(|found| hex(&found[1..])).map(str::to_uppercase).collect()
        };
        let mut kept = 0;
        for path in &paths {
            let Ok(decoded) = decode_path(path) else { continue };
            let slashes: Vec<_> = encodings(path).into_iter().filter(|encoding| encoding == "%2F").collect();
            assert_eq!(encodings(&decoded), slashes, "{path} is {decoded}");
            kept += slashes.len();
        }
        assert!(kept > 100, "{kept} slashes in {} paths", paths.len());
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port() {
        for (authority, expected) in [
            ("api.example.com", Some("api.example.com")),
            ("API.Example.COM.:8080", Some("api.example.com")),
            ("127.0.0.1:1", Some("127.0.0.1")),
            ("[::1]:8080", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("a_b", Some("a_b")),
            ("", None),
            (".", None),
            ("a..b", None),
            ("a:", None),
            ("a:x", None),
            ("a:70000", None),
            ("a:+1", None),
            ("a,b", None),
            ("a b", None),
            ("u@a", None),
            ("a/b", None),
            ("[::1", None),
            ("[x]", None),
            ("[::1]x", None),
        ] {
            assert_eq!(host(authority).ok().as_deref(), expected, "{authority}");
        }
    }
}
