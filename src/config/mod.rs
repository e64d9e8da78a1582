//! The configuration: one TOML file, read once with the files it names, into one immutable [`Config`].
//!
//! ```text
//! options   every option, once: key, type, default, meaning
//! declare   what is made of a declaration: the raw mirror, its reader, "did you mean"
//! syntax    text -> TOML with places
//! read      how each type is read; units: durations and sizes
//! build     raw -> Config: whether the values fit each other, and what policy says of them
//! report    the problems as file:line:column, for people and machines
//! example   config.example.toml; schema: config.schema.json; describe: the effective policy of every route
//! files     what was read, and whether it has changed; changes: what another configuration does otherwise
//! ```
//!
//! A file that is wrong is refused whole, and every fault is reported at once: no step returns early, and an option that
//! is not declared is a fault. Nothing of this is looked at again while requests are served.

mod authorities;
mod build;
mod certified;
mod changes;
mod declare;
mod describe;
mod example;
mod facts;
mod fault;
mod files;
#[cfg(test)]
mod golden;
mod model;
mod nearest;
mod options;
mod placeholders;
mod read;
mod reference;
mod report;
mod schema;
mod secret;
mod signing_key;
mod store_address;
mod syntax;
mod units;
mod upstream_address;
mod upstream_tls;

use std::path::Path;

pub use self::authorities::Authorities;
pub use self::certified::{Certified, CertifiedFault};
pub use self::changes::Changes;
use self::declare::{Opt, Read};
pub use self::describe::Description;
pub use self::example::example;
pub use self::facts::{Facts, moment};
use self::fault::Faults;
pub use self::fault::{Problem, Severity};
pub use self::files::{Digest, Files};
pub use self::model::{
    AccessLog, Address, Admin, Authentication, Authorization, Certificate, Client, ClientCertificateMode,
    ClientCertificates, Config, Drain, Endpoint, Endpoints, HostField, Introspection, Issuer, KeySource, Limits, Log,
    LogFormat, LogLevel, RefusalLog, Scheme, Secret, Server, Session, SigningKey, Store, StoreAddress, Tls, Trust,
    Upstream, UpstreamTls,
};
pub use self::reference::reference;
pub use self::report::{Line, Report};
pub use self::schema::schema;

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What should be known of it: no faults, perhaps warnings.
    pub warnings: Report,
}

/// What came of reading a file.
#[derive(Debug)]
pub struct Reading {
    /// The configuration, or the report on every fault of the file, or on why it cannot be read.
    pub outcome: Result<Loaded, Report>,
    /// The file and those that it names, as they were read: whether it comes to the same hangs on them alone.
    pub files: Files,
}

impl Config {
    /// Reads the file and the files it names; relative paths in it are relative to the file.
    ///
    /// # Errors
    ///
    /// The report on every fault of the file, or on why it cannot be read.
    pub fn load(path: &Path) -> Result<Loaded, Report> {
        Self::read(path).outcome
    }

    /// The same, and which files that hangs on.
    pub fn read(path: &Path) -> Reading {
        let mut faults = Faults::default();
        let source = match text(path, &mut faults.files) {
            Ok(source) => source,
            Err(report) => return Reading { outcome: Err(report), files: faults.files },
        };
        let config = read(&source, path.parent().unwrap_or(Path::new("")), &mut faults);
        let files = std::mem::take(&mut faults.files);
        let report = Report::new(path, &source, faults);
        let outcome = match config {
            Some(config) if report.faults() == 0 => Ok(Loaded { config, warnings: report }),
            Some(_) | None => Err(report),
        };
        Reading { outcome, files }
    }
}

/// The text of the configuration file.
fn text(path: &Path, files: &mut Files) -> Result<String, Report> {
    let unreadable = |why: std::io::Error| {
        Report::unreadable(path, format!("cannot be read: {why}"), "name the file with --config, or BEARWARD_CONFIG")
    };
    let found = files.read(path, u64::MAX).map_err(unreadable)?;
    // What is no file but a pipe, say from a shell, can be read once.
    let bytes = if found.metadata.is_file() { found.bytes } else { std::fs::read(path).map_err(unreadable)? };
    String::from_utf8(bytes).map_err(|wrong| {
        let line = wrong.as_bytes()[..wrong.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        Report::unreadable(path, format!("line {line} is not UTF-8"), "save the file as UTF-8")
    })
}

/// Whether an address is on this machine, so that plain http may be spoken to it.
pub fn is_loopback(url: &url::Url) -> bool {
    build::keys::is_loopback(url)
}

/// Where the discovery document of an issuer of that name is (OpenID Connect Discovery 1.0 section 4).
pub fn discovery_document(issuer: &str) -> Option<url::Url> {
    build::keys::discovery(issuer)
}

/// The whole way from text to model. Nothing here stops at a fault.
fn read(source: &str, directory: &Path, faults: &mut Faults) -> Option<Config> {
    let (document, broken) = syntax::parse(source);
    placeholders::placeholders(&document, faults);
    let root = Opt::root::<options::File>("");
    let config =
        options::File::read(&document, &root, faults).and_then(|file| build::config(&file, source, directory, faults));
    broken.merge_into(source, faults);
    config
}
