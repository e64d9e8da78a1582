//! `bearward demo`: every outcome to try out, or to be checked.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::demo::check::Finding;
use crate::demo::provider::Provider;
use crate::demo::{Demo, DemoFault, provider, providers};
use crate::policy::dialect::Dialect;
use crate::remote::clock::Clock;
use crate::server::drain::{Hangups, Signals};
use crate::telemetry::log::{self, Format, Level};

/// Runs the demo of a dialect until it is interrupted, or checks that every outcome is as told.
///
/// Without a dialect the demo is that of the default one, and the check is that of all. Exit codes: 0 done, 1 failed, 2
/// a dialect that the demo does not have.
pub fn run(dialect: Option<&str>, check: bool) -> ExitCode {
    let done = start(dialect, check);
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            // Where standard error is closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {fault}");
            match fault {
                DemoFault::Dialect(..) => ExitCode::from(2),
                DemoFault::Samples(_)
                | DemoFault::Issuer(_)
                | DemoFault::Token(_)
                | DemoFault::Gateway(_)
                | DemoFault::System(_)
                | DemoFault::Configuration(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn start(dialect: Option<&str>, check: bool) -> Result<bool, DemoFault> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match (check, dialect) {
            (false, dialect) => show(provider(dialect.unwrap_or(Dialect::DEFAULT))?).await,
            (true, Some(dialect)) => check_all(std::slice::from_ref(provider(dialect)?)).await,
            (true, None) => check_all(providers()?).await,
        }
    })
}

/// Prints what to paste, and serves until it is told to stop.
async fn show(provider: &'static Provider) -> Result<bool, DemoFault> {
    let mut end = End::listen()?;
    let demo = Demo::start(provider, Clock::system()).await?;
    // What the operator hears of each refusal appears below the lines; a process that has a log already keeps its own.
    let _log = log::start(Format::Text, Level::Info, demo.log_lines_dropped()).ok();
    let program = std::env::args_os().next().map_or_else(|| PathBuf::from("bearward"), PathBuf::from);
    write!(io::stdout().lock(), "{}", demo.tell(&program))?;
    end.comes().await;
    demo.stop().await;
    Ok(true)
}

/// Takes each tour and prints a line per outcome; true where all are as told. The demo's time is moved by hand, so that the
/// ends of tokens are seen too.
async fn check_all(providers: &'static [Provider]) -> Result<bool, DemoFault> {
    let mut end = End::listen()?;
    let (mut good, mut all) = (0, 0);
    for provider in providers {
        let (clock, hands) = Clock::manual(SystemTime::now());
        let demo = Demo::start(provider, clock).await?;
        let findings = tokio::select! {
            findings = demo.check(&hands) => findings,
            () = end.comes() => {
                demo.stop().await;
                return Ok(false);
            }
        };
        demo.stop().await;
        good += findings.iter().filter(|finding| finding.faults.is_empty()).count();
        all += findings.len();
        report(&mut io::stdout().lock(), &provider.dialect, &findings)?;
    }
    writeln!(io::stdout().lock(), "{good} of {all} outcomes are as told")?;
    Ok(all > 0 && good == all)
}

/// Whatever ends a demo: a signal, or its terminal that is closed.
struct End(Signals, Hangups);

impl End {
    fn listen() -> io::Result<Self> {
        Ok(Self(Signals::listen()?, Hangups::listen()?))
    }

    async fn comes(&mut self) {
        tokio::select! {
            () = self.0.stop() => {}
            () = self.1.next() => {}
        }
    }
}

fn report(out: &mut impl Write, dialect: &str, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        let verdict = if finding.faults.is_empty() { "ok  " } else { "FAIL" };
        writeln!(out, "{verdict}  {dialect}: {}: {}", finding.title, finding.expected)?;
        for fault in &finding.faults {
            writeln!(out, "      {fault}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_a_line_per_outcome_and_its_faults() {
        let finding = |faults: &[&str]| Finding {
            title: "no token".to_owned(),
            expected: "401 credential_missing".to_owned(),
            faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
        };
        let mut out = Vec::new();
        report(&mut out, "auth0", &[finding(&[]), finding(&["the status is 200, not 401"])]).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ok    auth0: no token: 401 credential_missing\n\
             FAIL  auth0: no token: 401 credential_missing\n      the status is 200, not 401\n"
        );
    }
}
