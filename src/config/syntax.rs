//! From text to TOML values with their places, going on after every fault of form.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::declare::Value;
use super::fault::Faults;

/// The faults of form.
pub(super) struct Broken(Faults);

/// Reads the text as far as it can be read.
pub(super) fn parse(source: &str) -> (Value<'_>, Broken) {
    let (document, errors) = DeTable::parse_recoverable(source);
    let mut faults = Faults::default();
    for error in &errors {
        faults.fault(&error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()), help(error.message()));
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
    }
}

fn help(message: &str) -> &'static str {
    if message.contains("duplicate") {
        "keep one of them"
    } else if message.contains("quoted") || message.contains("string") {
        "strings stand in double quotes: `path = \"/orders/*\"`"
    } else {
        "write `key = value`; strings in double quotes, lists in brackets, and a table's header as `[name]`"
    }
}
