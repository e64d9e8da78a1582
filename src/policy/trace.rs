//! The two marks by which a request is found again: our `x-request-id`, and W3C Trace Context's `traceparent`.
//!
//! 1. A request id is kept from a trusted proxy where it is short and plain; otherwise it is made.
//! 2. One valid `traceparent` is passed on unchanged with its `tracestate`. An absent, repeated or malformed one is
//!    replaced by a new root, and `tracestate`, which means nothing without it, is dropped (Trace Context section 3.3).
//! 3. A trace that is recorded here, because its caller records it or because it began here and was chosen, goes on as a
//!    child of our call of the upstream, and of the calls of an issuer that the request needs.
//!
//! Randomness is an argument.

use std::fmt;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// The field that carries the request id, both ways.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The field that carries the trace.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
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

/// Which traces are recorded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// What the last 63 bits of a new trace's id must be below; none where nobody collects traces.
    below: Option<u64>,
}

impl Sampling {
    /// None: nobody collects them.
    pub const OFF: Self = Self { below: None };

    /// Those that their caller records, and this share of those that begin here, from 0 to 1.
    pub fn share(share: f64) -> Self {
        Self { below: Some((share * (1_u64 << 63) as f64) as u64) }
    }

    /// Whether a trace that begins here is chosen. Its id decides, so that others who sample by it choose alike.
    fn chooses(self, trace: u128) -> bool {
        self.below.is_some_and(|below| (trace as u64) >> 1 < below)
    }
}

/// The ids of a request in a trace that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The trace's.
    pub trace: u128,
    /// The caller's span; none where the trace begins here.
    pub parent: Option<u64>,
    /// The span of the request.
    pub own: u64,
    /// The span of the call of the upstream.
    pub onward: u64,
}

impl Recorded {
    /// A trace that begins here.
    pub fn root(random: [u8; 32]) -> Self {
        let [high, low, own, onward] = std::array::from_fn(|at| {
            let word: [u8; 8] = std::array::from_fn(|byte| random[8 * at + byte]);
            u64::from_be_bytes(word)
        });
        // An id of zeroes is invalid (section 3.2.2.3); one fixed bit costs nothing.
        let trace = u128::from(high | 1) << 64 | u128::from(low);
        Self { trace, parent: None, own: own | 1, onward: onward | 1 }
    }

    /// The trace that a valid `traceparent` names, where its caller records it (section 3.2.2.5).
    fn under(parent: &str, random: [u8; 32]) -> Option<Self> {
        let flags = u8::from_str_radix(parent.get(53..55)?, 16).ok()?;
        let trace = u128::from_str_radix(parent.get(3..35)?, 16).ok()?;
        let span = u64::from_str_radix(parent.get(36..52)?, 16).ok()?;
        (flags & 1 == 1).then(|| Self { trace, parent: Some(span), ..Self::root(random) })
    }
}

/// The ids of a call that is made for a request in a trace that is recorded, other than that of its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Called {
    /// The trace's.
    pub trace: u128,
    /// The span that it is a part of.
    pub parent: u64,
    /// The span of the call.
    pub own: u64,
}

impl Called {
    /// A call for the request of these ids.
    pub fn within(request: Recorded, random: [u8; 8]) -> Self {
        Self { trace: request.trace, parent: request.own, own: u64::from_be_bytes(random) | 1 }
    }

    /// Another call for the same request.
    #[must_use]
    pub fn another(self, random: [u8; 8]) -> Self {
        Self { own: u64::from_be_bytes(random) | 1, ..self }
    }

    /// The value of the call's `traceparent`.
    pub fn traceparent(self) -> HeaderValue {
        traceparent(self.trace, self.own, true)
    }
}

/// The trace a request belongs to, and how it is told onwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    parent: HeaderValue,
    continued: bool,
    recorded: Option<Recorded>,
}

impl Trace {
    /// The caller's trace where its `traceparent` is valid, else a new root made of `random`.
    pub fn of(headers: &HeaderMap, random: [u8; 32], sampling: Sampling) -> Self {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        if let (Some(parent), None) = (values.next(), values.next())
            && valid(parent.as_bytes())
        {
            let under = |parent: &HeaderValue| Recorded::under(parent.to_str().ok()?, random);
            let recorded = if sampling == Sampling::OFF { None } else { under(parent) };
            let parent = recorded.map_or_else(|| parent.clone(), |ids| traceparent(ids.trace, ids.onward, true));
            return Self { parent, continued: true, recorded };
        }
        let ids = Recorded::root(random);
        let recorded = sampling.chooses(ids.trace).then_some(ids);
        Self { parent: traceparent(ids.trace, ids.onward, recorded.is_some()), continued: false, recorded }
    }

    /// The ids of the request's spans, where the trace is recorded here.
    pub fn recorded(&self) -> Option<Recorded> {
        self.recorded
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
}

/// A `traceparent` of version 00. Where nobody here records the trace, nobody else is asked to (flags `00`).
fn traceparent(trace: u128, span: u64, recorded: bool) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(&mut text[3..35], &trace.to_be_bytes());
    write_hex(&mut text[36..52], &span.to_be_bytes());
    if recorded {
        text[54] = b'1';
    }
    // Hexadecimal digits and dashes are always a header value; the fallback only keeps this function total.
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
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

    const OURS: u64 = 0xabab_abab_abab_abab;
    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn traced(parents: &[&str]) -> HeaderMap {
        sampled(parents, Sampling::OFF).1
    }

    /// The ids, and the fields that go onwards.
    fn sampled(parents: &[&str], sampling: Sampling) -> (Option<Recorded>, HeaderMap) {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(&TRACEPARENT, parent.parse().unwrap());
        }
        headers.insert(&TRACESTATE, HeaderValue::from_static("vendor=1"));
        let trace = Trace::of(&headers, [0xab; 32], sampling);
        trace.set(&mut headers);
        (trace.recorded(), headers)
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
    fn a_trace_is_recorded_as_its_caller_does() {
        let (all, none) = (Sampling::share(1.0), Sampling::share(0.0));
        let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
        for sampling in [all, none] {
            let (recorded, headers) = sampled(&[GOOD], sampling);
            let expected = Recorded { trace, parent: Some(0xb7ad_6b71_6920_3331), own: OURS, onward: OURS };
            assert_eq!(recorded, Some(expected));
            assert_eq!(headers[&TRACEPARENT], "00-0af7651916cd43dd8448eb211c80319c-abababababababab-01");
            assert_eq!(headers[&TRACESTATE], "vendor=1");

            let unrecorded = GOOD.replace("-01", "-00");
            let (recorded, headers) = sampled(&[&unrecorded], sampling);
            assert_eq!(recorded, None);
            assert_eq!(headers[&TRACEPARENT], unrecorded);
        }
        assert_eq!(sampled(&[GOOD], Sampling::OFF).0, None);
    }

    #[test]
    fn a_share_of_new_traces_is_recorded() {
        let (recorded, headers) = sampled(&[], Sampling::share(1.0));
        assert_eq!(recorded, Some(Recorded { trace: u128::MAX / 255 * 0xab, parent: None, own: OURS, onward: OURS }));
        assert_eq!(headers[&TRACEPARENT], "00-abababababababababababababababab-abababababababab-01");
        assert_eq!(sampled(&[], Sampling::share(0.0)).0, None);
        // 0xab is two thirds of 256.
        assert!(sampled(&[], Sampling::share(0.68)).0.is_some());
        assert!(sampled(&[], Sampling::share(0.66)).0.is_none());
    }

    #[test]
    fn a_call_is_a_child_of_its_request() {
        let (request, _) = sampled(&[GOOD], Sampling::share(0.0));
        let call = Called::within(request.unwrap(), [0x22; 8]);
        assert_eq!(
            (call.parent, call.traceparent()),
            (OURS, HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-2222222222222223-01",))
        );
        let another = call.another([0; 8]);
        assert_eq!((another.parent, another.own), (OURS, 1), "an id of zeroes is invalid");
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
