//! From text to TOML values with their places, going on after every fault of form.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::declare::{Value, names_a_secret};
use super::fault::{Faults, Span};

/// The faults of form.
pub(super) struct Broken(Faults);

/// Reads the text as far as it can be read.
pub(super) fn parse(source: &str) -> (Value<'_>, Broken) {
    let (document, errors) = DeTable::parse_recoverable(source);
    let mut faults = Faults::default();
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        if let Some(secret) = secret_on_line(source, span.start) {
            faults.mask(&secret);
        }
        faults.fault(&span, format!("not TOML: {}", error.message()), help(error.message()));
    }
    (Spanned::new(0..0, DeValue::Table(document.into_inner())), Broken(faults))
}

impl Broken {
    /// Adds the faults of form to the others, in place of what the others say of the same lines: there the parser made
    /// values up in order to go on.
    pub(super) fn merge_into(mut self, source: &str, faults: &mut Faults) {
        let line = |at: usize| source.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let starts = |problems: &[super::fault::Problem]| -> Vec<usize> {
            problems.iter().filter_map(|problem| problem.span.as_ref()).map(|span| line(span.start)).collect()
        };
        let broken = starts(&self.0.problems);
        faults.problems.retain(|problem| problem.span.as_ref().is_none_or(|span| !broken.contains(&line(span.start))));
        faults.problems.append(&mut self.0.problems);
        faults.masked.append(&mut self.0.masked);
    }
}

/// What stands behind the first `=` of a broken line whose key names a secret, to the line's end: of a line that cannot be
/// read nobody knows where a value ends.
fn secret_on_line(source: &str, at: usize) -> Option<Span> {
    let bytes = source.as_bytes();
    let at = at.min(bytes.len());
    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |newline| at + newline);
    let line = source.get(start..end)?;
    let key_before =
        |at: usize| line[..at].trim_end().rsplit([' ', '\t', ',', '{', '[', '.']).next().unwrap_or_default();
    let (equals, _) = line.match_indices('=').find(|(at, _)| names_a_secret(key_before(*at)))?;
    Some(start + equals + 1..end)
}

fn help(message: &str) -> &'static str {
    if message.contains("duplicate") {
        "keep one of them"
    } else if ["quoted", "string", "invalid"].iter().any(|word| message.contains(word)) {
        "strings stand in double quotes: `path = \"/orders/*\"`"
    } else {
        "write `key = value`; strings in double quotes, lists in brackets, and a table's header as `[name]`"
    }
}
