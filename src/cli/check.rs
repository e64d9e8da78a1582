//! `bearward check`: every fault of a configuration file, then the effective policy of every route, and warnings.
//!
//! Text for people, or one JSON object: `{ "report": { file, faults, problems }, "configuration": { routes, issuers } }`,
//! without `configuration` where the file is refused. What the file does goes to `out`, what is wrong with it to `err`.

use std::io::{self, Write};
use std::path::Path;

use crate::config::{Config, Description, Report};

/// The exit code of a file without faults.
const GOOD: u8 = 0;
/// The exit code of one that is refused.
const WRONG: u8 = 2;

/// Checks the file and writes the result; `colour` is for the text on `err`. The exit code: 0, or 2 for a wrong file.
///
/// # Errors
///
/// What the writers say.
pub fn run(config: &Path, json: bool, colour: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let (report, description) = match Config::load(config) {
        Ok(loaded) => (loaded.warnings, Some(loaded.config.describe())),
        Err(report) => (report, None),
    };
    if json {
        as_json(&report, description.as_ref(), out)?;
    } else {
        err.write_all(report.render(colour).as_bytes())?;
        match &description {
            Some(description) => write!(out, "{description}")?,
            None => writeln!(err, "{}", refusal(&report))?,
        }
    }
    Ok(if description.is_some() { GOOD } else { WRONG })
}

fn as_json(report: &Report, description: Option<&Description>, out: &mut impl Write) -> io::Result<()> {
    let mut answer = serde_json::json!({ "report": report.json() });
    if let Some(description) = description {
        answer["configuration"] = serde_json::to_value(description)?;
    }
    writeln!(out, "{answer:#}")
}

fn refusal(report: &Report) -> String {
    match report.faults() {
        1 => "one fault: the file is refused".to_owned(),
        faults => format!("{faults} faults: the file is refused"),
    }
}
