//! `bearward init`: a configuration to start from, made of what an issuer says of itself.
//!
//! 1. The issuer's discovery document is fetched by the client, and under the rules, that `run` fetches it with.
//! 2. It must be of the issuer that was asked for. Only a slash at the end may differ: then the document's spelling is
//!    written, because that is what its tokens have.
//! 3. Its keys must be there; the algorithms are those its keys are for.
//! 4. The dialect is a guess by the issuer's addresses, with its reason beside it; `check` and `run` never guess.

use std::io::{self, Write as _};
use std::process::ExitCode;

use self::asking::Fault;

mod asking;
mod clues;
mod writing;

/// Asks the issuer. Exit code 0: the configuration is printed, 1: the issuer gives none, 2: no issuer has such an address.
pub(super) fn run(issuer: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found =
        runtime.map_err(|why| Fault::System(why.to_string())).and_then(|runtime| runtime.block_on(asking::ask(issuer)));
    match found {
        Ok(found) => {
            let written = io::stdout().write_all(found.to_string().as_bytes());
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(fault) => {
            super::complain(&format!("error: {fault}\nhelp: {}\n", fault.help()));
            if fault.is_usage() { ExitCode::from(super::WRONG) } else { ExitCode::FAILURE }
        }
    }
}
