//! Files that the configuration names: read once, whole, within a bound.

use std::path::Path;

use crate::config::fault::{Faults, Span};
use crate::config::files::{Found, is_world_readable};
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
    let Found { bytes, metadata } = match faults.files.read(path, kind.longest) {
        Ok(found) => found,
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
