//! Files that the configuration names: read once, whole, within a bound.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::Path;

use crate::config::fault::{Faults, Span};
use crate::config::units::size_text;

/// What a file is, and who may read it.
pub(super) struct Kind {
    /// For people: `the secret's file`.
    pub(super) what: &'static str,
    /// A file that is longer, in bytes, is some other file.
    pub(super) longest: u64,
    /// Whether it is a fault that everybody may read it.
    pub(super) secret: bool,
}

/// The bytes of a file; `None` after reporting why they cannot be had.
pub(super) fn read(path: &Path, kind: &Kind, span: &Span, faults: &mut Faults) -> Option<Vec<u8>> {
    let (what, shown) = (kind.what, path.display());
    let mut bytes = Vec::new();
    // What is judged and what is read is one open file, whatever becomes of the name meanwhile.
    let opened = File::open(path).and_then(|mut file| {
        let metadata = file.metadata()?;
        if metadata.is_file() {
            (&mut file).take(kind.longest + 1).read_to_end(&mut bytes)?;
        }
        Ok(metadata)
    });
    let metadata = match opened {
        Ok(metadata) => metadata,
        Err(why) => {
            let help =
                "paths are relative to the configuration file; the gateway's user or group must be able to read it";
            faults.fault(span, format!("{what} {shown} cannot be read: {why}"), help);
            return None;
        }
    };
    if !metadata.is_file() || metadata.len() > kind.longest {
        let fault = format!("{what} {shown} is not a file, or longer than {}", size_text(kind.longest));
        faults.fault(span, fault, "name the file itself");
        return None;
    }
    if kind.secret && is_world_readable(&metadata) {
        let help = "run `chmod o-r` on it; in Kubernetes set `defaultMode: 0440` of the volume, with `fsGroup`";
        faults.fault(span, format!("everybody may read {what} {shown}"), help);
        return None;
    }
    Some(bytes)
}

#[cfg(unix)]
fn is_world_readable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o004 != 0
}

/// Elsewhere permissions are not a mode; the system's own lists apply.
#[cfg(not(unix))]
fn is_world_readable(_: &Metadata) -> bool {
    false
}
