//! `bearward run`: serve, and take changed files into force, until a signal says to stop.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use tokio::runtime::Builder;

use crate::config::{Config, Loaded, Reading, Report};
use crate::gateway::log_format;
use crate::gateway::request_body::Pace;
use crate::remote::clock::Clock;
use crate::server::StartFault;
use crate::server::assembly::{ServeFault, Served, telemetry};
use crate::server::drain::{Hangups, Signals};
use crate::server::reload::Reloads;
use crate::server::{memory, problems};

/// Serves. Exit code 0 after a drain in which every request ended, 1 where something failed, 2 for a wrong file.
pub(super) fn run(path: &Path) -> ExitCode {
    let colour = super::colour_on_stderr();
    let Reading { outcome, files } = Config::read(path);
    let Loaded { config, warnings } = match outcome {
        Ok(loaded) => loaded,
        Err(report) => {
            super::complain(&report.render(colour));
            return ExitCode::from(super::WRONG);
        }
    };
    match serve(config, &warnings, Reloads::new(path.to_owned(), files, colour)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            super::complain(&format!("error: {fault}\n"));
            if let ServeFault::Start(StartFault::Listen { .. }) = fault {
                super::complain("help: another process may have that address; stop it, or change `listen`\n");
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, warnings: &Report, mut reloads: Reloads) -> Result<bool, ServeFault> {
    let telemetry = telemetry(&config)?;
    problems::tell(warnings, &telemetry, log_format(&config), super::colour_on_stderr());
    warn_of_few_files(config.server.limits.connections);
    let routes = config.rules.routes.routes().len();
    let (workers, hash) = (config.server.workers, config.hash.clone());
    let control = Builder::new_multi_thread().worker_threads(1).thread_name("control").enable_all().build()?;
    // Before anybody can know that there is something to stop.
    let (mut signals, mut hangups) =
        control.block_on(async { Ok::<_, io::Error>((Signals::listen()?, Hangups::listen()?)) })?;
    let served = Served::start(config, telemetry, Clock::system(), Pace::default(), control.handle())?;
    served.watch_memory(memory::groups(), control.handle());
    for address in served.addresses() {
        tracing::info!(%address, "listening");
    }
    tracing::info!(address = %served.admin_address(), "admin listening");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), routes, workers, config = %hash, "serving");
    let gently = control.block_on(served.until_signalled(&mut signals, &mut hangups, &mut reloads));
    served.stop();
    // What still waits for a disk or a name is not waited for.
    control.shutdown_background();
    Ok(gently)
}

/// What the process has open beside connections: listeners, logs, stores, runtimes, calls of issuers.
const OTHER_FILES: usize = 100;

/// Each connection takes an open file, and as many again towards upstreams: a limit below that is better told at the start.
fn warn_of_few_files(connections: usize) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let allowed = line.and_then(|line| line.split_whitespace().next()).and_then(|soft| soft.parse::<usize>().ok());
    let needed = connections.saturating_mul(2).saturating_add(OTHER_FILES);
    if let Some(allowed) = allowed.filter(|allowed| *allowed < needed) {
        let fitting = allowed.saturating_sub(OTHER_FILES) / 2;
        let help = format!(
            "raise the limit of open files (`ulimit -n {needed}`, `LimitNOFILE={needed}`), or lower `connections` in \
             [server.limits] to {fitting}"
        );
        tracing::warn!(allowed, needed, connections, help, "fewer files may be open than connections need");
    }
}
