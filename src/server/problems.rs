//! What is wrong with a configuration file, told in the log: as `check` does where that is for people, else by a line for each
//! problem.

use crate::config::{Report, Severity};
use crate::telemetry::Telemetry;
use crate::telemetry::log::Format;

/// Tells all problems of a file, in that form; text is coloured where a terminal reads it.
pub fn tell(report: &Report, telemetry: &Telemetry, format: Format, colour: bool) {
    match format {
        Format::Json => each(report),
        Format::Text => {
            let verdict = if report.faults() == 0 { String::new() } else { report.verdict() + "\n" };
            telemetry.report(&format!("{}{verdict}", report.render(colour)));
        }
    }
}

fn each(report: &Report) {
    for line in report.lines() {
        let (place, text, what, help, also) = (line.place, line.text, line.what, line.help, line.also);
        match line.severity {
            Severity::Fault => tracing::error!(place, text, what, help, also, "the configuration has a fault"),
            Severity::Warning => tracing::warn!(place, text, what, help, also, "the configuration has a doubtful part"),
        }
    }
}
