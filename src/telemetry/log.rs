//! Everything but access lines: standard error, by `tracing`.
//!
//! Our own events are written from the configured level on; those of the libraries beneath us only as warnings and
//! errors, since their debug events tell of header fields, and no token may reach a log by that way. The pipe is written
//! by a thread of its own: one that stalls costs lines, never a request.
//!
//! [`Refusals`] tells the operator of refused requests, with cause and help, at a bounded rate per code.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::access::plain_or_quoted;
use super::labels::NONE;
use super::lines::Lines;
use super::metrics::Dropped;
use crate::policy::reject::{Code, Reject};

/// The form of lines, here and in the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// From which level on our own events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// What needs an operator.
    Error,
    /// What may soon.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// The thread that writes cannot be started.
    #[error("the log's thread cannot be started: {0}")]
    Thread(#[from] io::Error),
    /// The process has a log already.
    #[error("the process has a log already")]
    Twice,
}

/// The log of the process; what is waiting is written when this is dropped.
#[must_use = "what is waiting is written when this is dropped"]
pub struct Log {
    lines: Lines,
    json: reload::Handle<Targets, Registry>,
    text: reload::Handle<Targets, WithJson>,
}

/// What the layer of text stands on.
type WithJson = Layered<Box<dyn Layer<Registry> + Send + Sync>, Registry>;

/// How long the end of the process waits for a pipe that stalls.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(400);

impl Log {
    /// Writes in this format from this level on.
    pub fn adopt(&self, format: Format, level: Level) {
        let (json, text) = layers(format, level);
        // Either fails only where the process's subscriber is gone: nobody logs any more.
        let _ = self.json.reload(json);
        let _ = self.text.reload(text);
    }

    /// Writes what is for people, in one piece and in turn with the lines.
    pub fn report(&self, text: &str) {
        self.lines.add(text.as_bytes().to_vec());
    }

    /// Waits until what was said is written, unless the pipe stalls.
    pub fn flush(&self) {
        self.lines.flush(LAST_WORDS);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Sends the events of this process to standard error from now on.
///
/// # Errors
///
/// The process has a log already, or a thread cannot be started.
pub fn start(format: Format, level: Level, dropped: Dropped) -> Result<Log, LogFault> {
    let lines = Lines::start("log", io::stderr(), dropped)?;
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (json, text) = layers(format, level);
    // A filter of fixed targets is asked once for each place in the code, so that what is not written costs nothing; which
    // of two layers writes can therefore only be changed by exchanging their filters.
    let ((json, json_handle), (text, text_handle)) = (reload::Layer::new(json), reload::Layer::new(text));
    let as_json = fmt::layer().with_writer(Pipe(lines.clone())).json().flatten_event(true).with_filter(json).boxed();
    let fields = debug_fn(field).delimited(" ");
    let as_text = fmt::layer().with_writer(Pipe(lines.clone())).with_ansi(colours).fmt_fields(fields).with_filter(text);
    let log = Log { lines, json: json_handle, text: text_handle };
    tracing_subscriber::registry().with(as_json).with(as_text).try_init().map_err(|_| LogFault::Twice)?;
    Ok(log)
}

/// What each of the two layers writes: one of them nothing.
fn layers(format: Format, level: Level) -> (Targets, Targets) {
    match format {
        Format::Json => (events(level), Targets::new()),
        Format::Text => (Targets::new(), events(level)),
    }
}

fn events(level: Level) -> Targets {
    let level = LevelFilter::from(level);
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("bearward", level)
}

/// A field as text, in the form that it has in access lines. Texts come quoted.
fn field(out: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug) -> std::fmt::Result {
    let text = format!("{value:?}");
    match field.name() {
        "message" => out.write_str(&text),
        name if text.starts_with('"') && !text.contains(char::is_control) => write!(out, "{name}={text}"),
        name => {
            let mut shown = format!("{name}=");
            plain_or_quoted(&mut shown, &text);
            out.write_str(&shown)
        }
    }
}

/// Hands each event's text to the queue; `fmt` writes an event with one call.
struct Pipe(Lines);

impl Write for &Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.add(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Pipe {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// By what a refused request is found again in access lines and traces.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The name of its route, once that was found.
    pub route: Option<&'a str>,
    /// The value of `x-request-id`.
    pub request_id: &'a str,
    /// The id of its trace.
    pub trace_id: &'a str,
}

/// Tells the operator why requests are refused, with cause and help.
///
/// Of each code a burst is told, then one per second; how many were left out stands in the next line. A flood of forged
/// tokens can therefore neither fill the log nor hide what is refused for another reason.
pub struct Refusals {
    /// By code.
    gates: Box<[Gate]>,
    /// By code, for those that are let through: neither may hide the other.
    shadow_gates: Box<[Gate]>,
    /// For cookies that upstreams may not set.
    cookies: Gate,
}

impl Default for Refusals {
    fn default() -> Self {
        let gates = || Code::ALL.iter().map(|_| Gate::default()).collect();
        Self { gates: gates(), shadow_gates: gates(), cookies: Gate::default() }
    }
}

impl Refusals {
    /// Writes the line, or counts it as left out. `now` is the monotonic time.
    pub fn tell(&self, reject: &Reject, asked: Asked<'_>, now: Duration) {
        let code = reject.code();
        let Some(suppressed) = self.gates.get(code as usize).and_then(|gate| gate.pass(now)) else {
            return;
        };
        let (facts, cause, help) = (code.facts(), reject.cause(), reject.help());
        let (name, route, Asked { request_id, trace_id, .. }) = (facts.name, asked.route.unwrap_or(NONE), asked);
        // The caller's own faults are news; what the gateway or those behind it cannot do needs somebody.
        match facts.status {
            500 => tracing::error!(code = name, cause, help, route, request_id, trace_id, suppressed, "request failed"),
            501.. => {
                tracing::warn!(code = name, cause, help, route, request_id, trace_id, suppressed, "request failed")
            }
            _ => tracing::info!(code = name, cause, help, route, request_id, trace_id, suppressed, "request refused"),
        }
    }

    /// The same of a refusal that a policy in shadow mode lets through.
    pub fn tell_shadowed(&self, reject: &Reject, asked: Asked<'_>, now: Duration) {
        let code = reject.code();
        let Some(suppressed) = self.shadow_gates.get(code as usize).and_then(|gate| gate.pass(now)) else {
            return;
        };
        let (name, cause, help) = (code.facts().name, reject.cause(), reject.help());
        let (route, Asked { request_id, trace_id, .. }) = (asked.route.unwrap_or(NONE), asked);
        tracing::info!(code = name, cause, help, route, request_id, trace_id, suppressed, "request would be refused");
    }

    /// The same of a field of an upstream's answer that would set a cookie of ours, of that name or of a login.
    pub fn tell_withheld(&self, cookie: &str, upstream: Option<&str>, asked: Asked<'_>, now: Duration) {
        let Some(suppressed) = self.cookies.pass(now) else { return };
        let help = "have the upstream use another name, or set the session's `cookie.name` to one of its own";
        let (upstream, route) = (upstream.unwrap_or(NONE), asked.route.unwrap_or(NONE));
        let Asked { request_id, trace_id, .. } = asked;
        tracing::warn!(cookie, help, upstream, route, request_id, trace_id, suppressed, "Set-Cookie left out");
    }
}

/// Lets a burst through, then one per interval.
#[derive(Default)]
struct Gate {
    /// Until when, in milliseconds, the burst is used up: each pass moves it on by one interval.
    booked: AtomicU64,
    /// What did not pass since the last that did.
    suppressed: AtomicU64,
}

const INTERVAL_MS: u64 = 1000;
const BURST: u64 = 10;

impl Gate {
    /// How many were kept back since the last pass, or none where this one is kept back too.
    fn pass(&self, now: Duration) -> Option<u64> {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let room = now.saturating_add(INTERVAL_MS * (BURST - 1));
        let booked = self.booked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |booked| {
            (booked <= room).then(|| booked.max(now).saturating_add(INTERVAL_MS))
        });
        if booked.is_err() {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_passes_as_a_burst_then_one_per_second() {
        let gate = Gate::default();
        let at = |ms| Duration::from_millis(ms);
        let passed = (0..1000).filter(|_| gate.pass(at(5000)).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(gate.pass(at(5999)), None);
        assert_eq!(gate.pass(at(6000)), Some(991), "the next line says how many were left out");
        assert_eq!(gate.pass(at(6000)), None);
        // After a silence the whole burst is there again, and no more.
        let passed = (0..1000).filter(|_| gate.pass(at(1_000_000)).is_some()).count();
        assert_eq!(passed, 10);
    }

    #[test]
    fn libraries_are_heard_from_warnings_on_only() {
        use tracing::Level as At;
        for (level, ours, theirs) in [
            (Level::Trace, At::TRACE, At::WARN),
            (Level::Info, At::INFO, At::WARN),
            (Level::Warn, At::WARN, At::WARN),
            (Level::Error, At::ERROR, At::ERROR),
        ] {
            let events = events(level);
            for at in [At::ERROR, At::WARN, At::INFO, At::DEBUG, At::TRACE] {
                assert_eq!(events.would_enable("bearward::gateway", &at), at <= ours, "{level:?} {at}");
                assert_eq!(events.would_enable("hyper::proto", &at), at <= theirs, "{level:?} {at}");
            }
        }
    }
}
