//! Reloads: a changed file is taken into force while the server runs.
//!
//! 1. SIGHUP reads the files at once. Beside that the files are looked at twice a second, by their content: the configuration
//!    and every file that it names. They are read when they differ from what was tried last and have held still from one look
//!    to the next, so that nobody is caught in the middle of writing.
//! 2. A good file is exchanged for the one in force, in one step; one line of the log says what that changed. What repeats
//!    what is in force changes nothing.
//! 3. A bad file changes nothing. It is reported once, and in one line of the log: as `check` does where the log is text, else
//!    by a line for each problem.
//! 4. What cannot change while the server runs keeps its value, and a warning says so: the addresses that are listened on,
//!    and the number of workers.
//!
//! Files are looked at rather than watched: a watch is lost with the directory it is on, sees nothing on some file systems,
//! and takes from what the system allows a user. A look costs some microseconds for each file.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::assembly::Served;
use super::drain::Hangups;
use super::problems;
use crate::config::{Config, Files, Loaded, Reading, Report};
use crate::gateway::log_format;
use crate::telemetry::labels::ReloadResult;

/// How often the files are looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Takes the changes of one configuration file into force.
pub struct Reloads {
    path: PathBuf,
    /// What those files held that are in force.
    in_force: Files,
    /// What they held when they were read last.
    tried: Files,
    /// Whether a terminal reads the reports.
    colour: bool,
}

impl Reloads {
    /// For a server that runs by what was read from `path`, when the files were these. Reports are coloured or not.
    pub fn new(path: PathBuf, files: Files, colour: bool) -> Self {
        Self { path, tried: files.clone(), in_force: files, colour }
    }

    /// Reloads at each hangup and each change of a file, for as long as it is polled.
    pub async fn run(&mut self, served: &Served, hangups: &mut Hangups) -> Infallible {
        loop {
            tokio::select! {
                () = hangups.next() => {}
                () = self.changed(served) => {}
            }
            self.reload(served).await;
        }
    }

    /// Returns when the files hold something else than when they were read last, and hold still.
    async fn changed(&self, served: &Served) {
        let clock = served.shared().clock();
        let mut still = Still(None);
        loop {
            clock.sleep_until(clock.now().after(LOOK_EVERY)).await;
            let tried = self.tried.clone();
            let Some(found) = apart(move || tried.look_again()).await else { continue };
            if still.is_new(found, &self.tried) {
                return;
            }
        }
    }

    /// Reads the files and takes them into force, if they can be and are not.
    pub async fn reload(&mut self, served: &Served) {
        let path = self.path.clone();
        let Some(Reading { outcome, files }) = apart(move || Config::read(&path)).await else { return };
        let result = match outcome {
            Ok(loaded) if files == self.in_force => {
                drop(loaded);
                tracing::info!("nothing to reload: the files hold what is in force");
                ReloadResult::Success
            }
            Ok(loaded) => match self.adopt(served, loaded, &files) {
                Ok(()) => {
                    self.in_force = files.clone();
                    ReloadResult::Success
                }
                Err(error) => {
                    tracing::error!(%error, "TLS cannot be offered so: the configuration before stays in force");
                    ReloadResult::Failure
                }
            },
            Err(report) => {
                self.refuse(served, &report);
                ReloadResult::Failure
            }
        };
        self.tried = files;
        served.shared().telemetry().metrics.config_reloaded(result);
    }

    fn adopt(&self, served: &Served, loaded: Loaded, files: &Files) -> Result<(), rustls::Error> {
        let Loaded { config, warnings } = loaded;
        self.report(served, &warnings);
        let (hash, changes) = (config.hash.clone(), config.changes_since(served.in_force().config()));
        let files = names(files.changed_since(&self.in_force));
        for option in served.adopt(config)? {
            let help = "restart the gateway; until then the value before stays in force";
            tracing::warn!(option, help, "a changed option cannot be taken into force while the gateway runs");
        }
        tracing::info!(config = hash, %changes, files, "configuration reloaded");
        Ok(())
    }

    /// Tells the problems of a file, in the form of the log in force.
    fn report(&self, served: &Served, report: &Report) {
        problems::tell(report, served.shared().telemetry(), log_format(served.in_force().config()), self.colour);
    }

    fn refuse(&self, served: &Served, report: &Report) {
        self.report(served, report);
        let (path, help) = (self.path.display(), "mend the file; it is read again when it changes, or at a SIGHUP");
        tracing::error!(file = %path, faults = report.faults(), help, "configuration not reloaded: the one before stays in force");
    }
}

/// What the last look found.
struct Still<T>(Option<T>);

impl<T: PartialEq> Still<T> {
    /// Whether a look found something else than what was tried, and the look before found the same.
    fn is_new(&mut self, found: T, tried: &T) -> bool {
        let is_new = found != *tried && self.0.as_ref() == Some(&found);
        self.0 = Some(found);
        is_new
    }
}

fn names<'f>(files: impl Iterator<Item = &'f Path>) -> String {
    files.map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Does what may wait for a disk where nothing else has to wait for it; none where the process is about to end.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_being_written_is_not_read() {
        let mut still = Still(None);
        // What each look finds where 1 was tried, and whether it is read now.
        for (found, expected) in
            [(1, false), (2, false), (3, false), (3, true), (4, false), (1, false), (1, false), (4, false), (4, true)]
        {
            assert_eq!(still.is_new(found, &1), expected, "{found}");
        }
    }
}
