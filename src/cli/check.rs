//! `bearward check`: every fault of a configuration file, then the effective policy of every route, and warnings; where that
//! is asked for, whether each issuer will do.
//!
//! Text for people, or one JSON object: `{ "report": { file, faults, problems }, "configuration": { routes, issuers },
//! "online": [ { issuer, findings } ] }`, without `configuration` where the file is refused, and without `online` where
//! nobody was asked. What the file does goes to `out`, what is wrong with it to `err`.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use self::online::Asked;
use crate::config::{Config, Report};

mod online;

/// The exit code of a file without faults.
const GOOD: u8 = 0;
/// The exit code of one whose issuers will not do.
const FAILED: u8 = 1;
/// The exit code of one that is refused.
const WRONG: u8 = 2;

/// How a file is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Whether its issuers are asked.
    pub online: bool,
    /// Whether it is told as JSON.
    pub json: bool,
    /// Whether the text on `err` is coloured.
    pub colour: bool,
}

/// Checks the file and writes the result. The exit code: 0, 1 where an issuer that was asked will not do, or 2 for a wrong
/// file, of which nobody is asked.
///
/// # Errors
///
/// What the writers say.
pub fn run(config: &Path, how: How, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let (report, config) = match Config::load(config) {
        Ok(loaded) => (loaded.warnings, Some(loaded.config)),
        Err(report) => (report, None),
    };
    let asked = match config.as_ref().filter(|_| how.online).map(online::ask) {
        None => Vec::new(),
        Some(Ok(asked)) => asked,
        Some(Err(why)) => {
            writeln!(err, "error: nobody can be asked: {why}")?;
            return Ok(FAILED);
        }
    };
    if how.json {
        as_json(&report, config.as_ref(), how.online.then_some(&asked), out)?;
    } else {
        err.write_all(report.render(how.colour).as_bytes())?;
        match &config {
            Some(config) => write!(out, "{}", config.describe())?,
            None => writeln!(err, "{}", report.verdict())?,
        }
        asked.iter().try_for_each(|asked| write!(out, "{asked}"))?;
    }
    Ok(match config {
        None => WRONG,
        Some(_) if asked.iter().all(Asked::is_good) => GOOD,
        Some(_) => FAILED,
    })
}

fn as_json(
    report: &Report,
    config: Option<&Config>,
    asked: Option<&Vec<Asked>>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut answer = json!({ "report": report.json() });
    if let Some(config) = config {
        answer["configuration"] = serde_json::to_value(config.describe())?;
        if let Some(asked) = asked {
            answer["online"] = serde_json::to_value(asked)?;
        }
    }
    writeln!(out, "{answer:#}")
}
