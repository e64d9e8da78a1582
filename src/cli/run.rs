//! `bearward run`: serve until a signal says to stop.

use std::path::Path;
use std::process::ExitCode;

use tokio::runtime::Builder;

use crate::config::Config;
use crate::gateway::request_body::Pace;
use crate::remote::clock::Clock;
use crate::server::assembly::{ServeFault, Served, telemetry};

/// Serves. Exit code 0 after a drain in which every request ended, 1 where something failed, 2 for a wrong file.
pub(super) fn run(path: &Path) -> ExitCode {
    let loaded = match Config::load(path) {
        Ok(loaded) => loaded,
        Err(report) => {
            super::complain(&report.render(super::colour_on_stderr()));
            return ExitCode::from(super::WRONG);
        }
    };
    match serve(loaded.config, &loaded.warnings.render(super::colour_on_stderr())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            super::complain(&format!("error: {fault}\n"));
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, warnings: &str) -> Result<bool, ServeFault> {
    super::complain(warnings);
    let (telemetry, _log) = telemetry(&config)?;
    let routes = config.rules.routes.routes().len();
    let (workers, hash) = (config.server.workers, config.hash.clone());
    let control = Builder::new_multi_thread().worker_threads(1).thread_name("control").enable_all().build()?;
    let served = Served::start(config, telemetry, Clock::system(), Pace::default(), control.handle())?;
    for address in served.addresses() {
        tracing::info!(%address, "listening");
    }
    tracing::info!(address = %served.admin_address(), "admin listening");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), routes, workers, config = %hash, "serving");
    let gently = control.block_on(served.until_signalled())?;
    served.stop();
    Ok(gently)
}
