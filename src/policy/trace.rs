//! The two marks by which a request is found again: our `x-request-id`, and W3C Trace Context's `traceparent`.
//!
//! 1. A request id is kept from a trusted proxy where it is short and plain; otherwise it is made.
//! 2. One valid `traceparent` is passed on unchanged with its `tracestate`. An absent, repeated or malformed one is
//!    replaced by a new root, and `tracestate`, which means nothing without it, is dropped (Trace Context section 3.3).
//!
//! Randomness is an argument.

use std::fmt;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// The field that carries the request id, both ways.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What names one request in answers, logs and upstream: letters, digits, `-`, `_`, `.`, at most 128 of them.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The longest id that is kept from a trusted proxy.
    pub const MAX_LENGTH: usize = 128;

    /// Makes one of 128 random bits, as 32 hexadecimal digits.
    pub fn made(random: [u8; 16]) -> Self {
        let mut digits = [0; 32];
        write_hex(&mut digits, &random);
        // Hexadecimal digits are always a header value; the fallback only keeps this function total.
        Self(HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    /// The id that a trusted proxy sent, where it sent exactly one and that is plain.
    pub fn kept(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&X_REQUEST_ID).iter();
        let value = values.next()?;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let bytes = value.as_bytes();
        let good = !bytes.is_empty() && bytes.len() <= Self::MAX_LENGTH && bytes.iter().all(plain);
        (good && values.next().is_none()).then(|| Self(value.clone()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as a field value.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The trace a request belongs to, and how it is told onwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    parent: HeaderValue,
    continued: bool,
}

impl Trace {
    /// The caller's trace where its `traceparent` is valid, else a new root made of `random`.
    pub fn of(headers: &HeaderMap, random: [u8; 24]) -> Self {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        if let (Some(parent), None) = (values.next(), values.next())
            && valid(parent.as_bytes())
        {
            return Self { parent: parent.clone(), continued: true };
        }
        Self::root(random)
    }

    /// The trace's id: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        self.parent.to_str().ok().and_then(|text| text.get(3..35)).unwrap_or_default()
    }

    /// Writes it into a request that goes onwards.
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        headers.insert(&TRACEPARENT, self.parent.clone());
        if !self.continued {
            headers.remove(&TRACESTATE);
        }
    }

    /// A root that is not recorded: nobody here collects it, so nobody else is asked to (flags `00`).
    fn root(mut random: [u8; 24]) -> Self {
        // An id of zeroes is invalid (section 3.2.2.3); one fixed bit costs nothing.
        random[0] |= 1;
        random[16] |= 1;
        let (trace, span) = random.split_at(16);
        let mut parent = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut parent[3..35], trace);
        write_hex(&mut parent[36..52], span);
        let parent = HeaderValue::from_bytes(&parent).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { parent, continued: false }
    }
}

/// Whether it is a `traceparent` of version 00, or of a later one that can be read as such (section 3.2.4).
fn valid(parent: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == b'0');
    if parent.len() < 55 || [2, 35, 52].iter().any(|dash| parent[*dash] != b'-') {
        return false;
    }
    let (version, trace, span, flags) = (&parent[..2], &parent[3..35], &parent[36..52], &parent[53..55]);
    let rest = &parent[55..];
    digits(version)
        && version != b"ff"
        && (rest.is_empty() || version != b"00" && rest[0] == b'-')
        && digits(trace)
        && !zero(trace)
        && digits(span)
        && !zero(span)
        && digits(flags)
}

/// Writes two digits for each byte.
fn write_hex(digits: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn traced(parents: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(&TRACEPARENT, parent.parse().unwrap());
        }
        headers.insert(&TRACESTATE, HeaderValue::from_static("vendor=1"));
        let trace = Trace::of(&headers, [0xab; 24]);
        trace.set(&mut headers);
        headers
    }

    #[test]
    fn a_valid_trace_is_continued_unchanged() {
        for parent in [GOOD, "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"] {
            let headers = traced(&[parent]);
            assert_eq!(headers[&TRACEPARENT], parent);
            assert_eq!(headers[&TRACESTATE], "vendor=1");
        }
    }

    #[test]
    fn anything_else_becomes_a_new_root_without_state() {
        for parents in [
            &[][..],
            &[GOOD, GOOD],
            &[""],
            &["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
            &["00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"],
            &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"],
            &["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x"],
        ] {
            let headers = traced(parents);
            let all: Vec<_> = headers.get_all(&TRACEPARENT).iter().collect();
            assert_eq!(all, ["00-abababababababababababababababab-abababababababab-00"], "{parents:?}");
            assert!(!headers.contains_key(&TRACESTATE), "{parents:?}");
        }
    }

    #[test]
    fn only_a_plain_request_id_is_kept() {
        let long = "a".repeat(129);
        for (ids, kept) in [
            (&["Abc-1_2.3"][..], Some("Abc-1_2.3")),
            (&[], None),
            (&["a", "b"], None),
            (&[""], None),
            (&["a b"], None),
            (&["a\"b"], None),
            (&[long.as_str()], None),
        ] {
            let mut headers = HeaderMap::new();
            for id in ids {
                headers.append(&X_REQUEST_ID, id.parse().unwrap());
            }
            assert_eq!(RequestId::kept(&headers).as_ref().map(RequestId::as_str), kept, "{ids:?}");
        }
        assert_eq!(RequestId::made([0x0f; 16]).as_str(), "0f".repeat(16));
    }
}
