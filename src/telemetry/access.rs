//! The access line: one per finished request, on standard output.
//!
//! Every line has the same fields in the same order, and what is not known is `null` (`-` as text). Nothing in it is
//! unverified: route and issuer are names of the configuration, the query is never told, and whatever the caller wrote
//! (method, path, request id) is escaped, so that it can neither begin a line of its own nor speak to a terminal.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Outcome;
use super::labels::Decision;
use super::ledger::Ledger;
use super::lines::Lines;
use super::log::Format;
use super::metrics::Dropped;

/// How access lines look and which are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// JSON or text.
    pub format: Format,
    /// The share of requests without a code that get a line: 0 none, 1 all.
    pub sample: f64,
    /// Which of the refused and failed ones get a line.
    pub refused: Refused,
}

/// Which requests that were refused, in shadow mode too, or that failed, get a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refused {
    /// All of them.
    #[default]
    All,
    /// The same share as of the others.
    Sampled,
}

/// Writes access lines, off the path of the request.
pub struct AccessLog {
    lines: Lines,
    sampler: Sampler,
}

impl AccessLog {
    /// Starts writing to `out`, which is standard output but for tests.
    ///
    /// # Errors
    ///
    /// The thread that writes cannot be started.
    pub fn start(out: impl Write + Send + 'static, dropped: Dropped) -> io::Result<Self> {
        Ok(Self { lines: Lines::start("access-log", out, dropped)?, sampler: Sampler::default() })
    }

    /// Waits until what was recorded is written, at most `limit`. Blocks its thread: for the end of the process.
    pub fn flush(&self, limit: Duration) {
        self.lines.flush(limit);
    }

    /// Writes the line of a finished request, where it is wanted.
    pub(super) fn record(&self, outcome: &Outcome, settings: Settings, names: &Ledger) {
        let always = settings.refused == Refused::All && outcome.code().is_some();
        if always || self.sampler.takes(settings.sample) {
            self.lines.add(line(settings.format, outcome, names).into_bytes());
        }
    }
}

/// Takes an even share of what comes, without randomness: the fractional parts of the multiples of the golden ratio are
/// spread evenly, and keep no step with callers that repeat themselves.
#[derive(Default)]
struct Sampler(AtomicU64);

impl Sampler {
    fn takes(&self, share: f64) -> bool {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let point = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN);
        // 53 bits are what an f64 holds exactly, so that a share of 1 takes every point.
        let point = (point >> 11) as f64 / (1_u64 << 53) as f64;
        point < share
    }
}

/// A field's value.
enum Value<'a> {
    Text(&'a str),
    /// Digits and a point, which need no escape.
    Number(String),
    Unknown,
}

fn line(format: Format, outcome: &Outcome, names: &Ledger) -> String {
    let timestamp = format!("{:.3}", jiff::Timestamp::try_from(outcome.at).unwrap_or_default());
    let client = outcome.client.to_string();
    let request_id = String::from_utf8_lossy(outcome.request_id.as_bytes());
    let trace_id = outcome.trace_id.map(|id| format!("{id:032x}"));
    let text = |value| Value::Text(value);
    let known = |value: Option<_>| value.map_or(Value::Unknown, Value::Text);
    let result = outcome.decision.map(Decision::word);
    let status = outcome.answer.map(|answer| answer.status.as_u16().to_string());
    let fields = [
        ("timestamp", text(&*timestamp)),
        ("http.request.method", text(outcome.method.as_str())),
        ("url.path", text(outcome.uri.path())),
        ("http.route", known(names.route_name(outcome.route))),
        ("http.response.status_code", status.map_or(Value::Unknown, Value::Number)),
        ("client.address", text(&*client)),
        ("duration_ms", Value::Number(format!("{:.3}", outcome.duration.as_secs_f64() * 1000.0))),
        ("request_id", text(&*request_id)),
        ("outcome", known(result)),
        ("code", known(outcome.code().map(|code| code.facts().name))),
        ("issuer", known(names.issuer_name(outcome.issuer.filter(|_| outcome.verified)))),
        ("trace_id", known(trace_id.as_deref())),
    ];
    match format {
        Format::Json => json(&fields),
        Format::Text => plain(&fields),
    }
}

fn json(fields: &[(&str, Value<'_>)]) -> String {
    let mut line = String::with_capacity(384);
    for (name, value) in fields {
        line.push_str(if line.is_empty() { "{\"" } else { ",\"" });
        line.push_str(name);
        line.push_str("\":");
        match value {
            Value::Text(text) => quote(&mut line, text),
            Value::Number(digits) => line.push_str(digits),
            Value::Unknown => line.push_str("null"),
        }
    }
    line.push_str("}\n");
    line
}

/// `name=value` with blanks between; quoted where the value has anything but plain characters.
fn plain(fields: &[(&str, Value<'_>)]) -> String {
    let mut line = String::with_capacity(320);
    for (name, value) in fields {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(name);
        line.push('=');
        match value {
            Value::Text(text) => plain_or_quoted(&mut line, text),
            Value::Number(digits) => line.push_str(digits),
            Value::Unknown => line.push('-'),
        }
    }
    line.push('\n');
    line
}

/// A value as it is, or quoted where it has anything but plain characters.
pub(super) fn plain_or_quoted(line: &mut String, text: &str) {
    if is_plain(text) {
        line.push_str(text);
    } else {
        quote(line, text);
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text != "-"
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'='))
}

/// A JSON string (RFC 8259 section 7). All but printable ASCII is escaped: a control or bidirectional character must not
/// reach the terminal of whoever reads the log.
fn quote(line: &mut String, text: &str) {
    line.push('"');
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        // Nearly every text is as it is; one copy of it is quicker than one of each character.
        line.push_str(text);
    } else {
        escape(line, text);
    }
    line.push('"');
}

fn escape(line: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            ' '..='~' => line.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_takes_its_share() {
        let taken = |share: f64| {
            let sampler = Sampler::default();
            (0..10_000).filter(|_| sampler.takes(share)).count()
        };
        assert_eq!(taken(0.0), 0);
        assert_eq!(taken(1.0), 10_000);
        for share in [0.01, 0.1, 0.25, 0.5, 0.9] {
            let expected = share * 10_000.0;
            let error = (taken(share) as f64 - expected).abs();
            assert!(error <= 5.0, "share {share}: off by {error} of {expected}");
        }
    }

    #[test]
    fn what_a_caller_writes_stays_within_its_quotes() {
        let quoted = |text: &str| {
            let mut line = String::new();
            quote(&mut line, text);
            line
        };
        assert_eq!(quoted("plain text"), r#""plain text""#);
        assert_eq!(quoted("\"\\"), r#""\"\\""#);
        assert_eq!(quoted("a\r\nb\u{1b}[2J\u{7f}"), r#""a\u000d\u000ab\u001b[2J\u007f""#);
        assert_eq!(quoted("\u{9b}\u{202e}\u{2028}é"), r#""\u009b\u202e\u2028\u00e9""#);
        assert_eq!(quoted("\u{1f511}"), r#""\ud83d\udd11""#);
        for text in ["\u{1f511}\0", "é\"\\/\u{2029}"] {
            assert_eq!(serde_json::from_str::<String>(&quoted(text)).unwrap(), text);
        }
    }
}
