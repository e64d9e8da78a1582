//! `bearward inspect`: what a token says and which kind it is, without asking anybody.
//!
//! 1. The text is freed of what is no part of a token; each such thing is named, with its cure.
//! 2. What the token says is told as it stands there. Which kind it is, is judged by [`crate::policy::kind`]: for the issuer
//!    of the configuration whose exact `iss` it has, else by the marks that mean the same at every issuer.
//! 3. With keys its signature is checked. That alone decides about the exit code: 0 where it holds, 1 in every other case.
//!    An expired token whose signature holds is 0, and one that nobody has keys for is NOT VERIFIED.
//!
//! Neither the token nor its signature is ever printed.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use self::signature::Trust;
use self::telling::Inspection;
use crate::config::Config;
use crate::policy::claims::NumericDate;
use crate::policy::jwk::JwkSet;
use crate::remote::clock::Clock;

mod facts;
mod signature;
mod telling;
mod unread;

/// What `inspect` is asked.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The configuration file whose issuers and key files are used; BEARWARD_CONFIG where neither is named.
    #[arg(long, value_name = "FILE", conflicts_with = "jwks")]
    config: Option<PathBuf>,
    /// A key set (RFC 7517) to check the signature with, whoever the issuer is.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// The file that holds the token; `-`, or nothing, reads standard input. Never a token itself.
    #[arg(value_name = "TOKEN-FILE")]
    token_file: Option<PathBuf>,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

/// Inspects. Exit code 0: the signature holds, 1: it does not or was not checked, 2: wrong usage or configuration.
pub(super) fn run(arguments: &InspectArguments) -> ExitCode {
    let inspected = trust(arguments).and_then(|trust| {
        let text = super::read_token(arguments.token_file.as_deref()).map_err(|why| format!("error: {why}\n"))?;
        Ok(Inspection::of(&text, &trust, NumericDate::from(Clock::system().wall())))
    });
    match inspected {
        Err(told) => {
            super::complain(&told);
            ExitCode::from(super::WRONG)
        }
        Ok(inspection) => {
            let text = if arguments.json { format!("{:#}\n", inspection.json()) } else { inspection.to_string() };
            let told = io::stdout().write_all(text.as_bytes());
            if told.is_ok() && inspection.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

/// Whose keys are believed; what to say where that cannot be read.
fn trust(arguments: &InspectArguments) -> Result<Trust, String> {
    if let Some(file) = &arguments.jwks {
        let shown = file.display();
        let bytes = std::fs::read(file).map_err(|why| format!("error: the key set {shown} cannot be read: {why}\n"))?;
        let set = JwkSet::parse(&bytes).map_err(|why| {
            let help = "help: name a JWK Set (RFC 7517 section 5): `{ \"keys\": [ ... ] }`\n";
            format!("error: the key set {shown} {why}\n{help}")
        })?;
        return Ok(Trust::Keys { file: shown.to_string(), set });
    }
    let by_environment = || std::env::var_os("BEARWARD_CONFIG").map(PathBuf::from);
    match arguments.config.clone().or_else(by_environment) {
        None => Ok(Trust::Nobody),
        Some(file) => Config::load(&file)
            .map(|loaded| Trust::Configured(Box::new(loaded.config)))
            .map_err(|report| report.render(super::colour_on_stderr())),
    }
}
