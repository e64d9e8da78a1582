//! Secrets, from the file or environment variable that holds them.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::Path;

use crate::config::declare::Field;
use crate::config::fault::{Faults, Span};
use crate::config::read::Hidden;
use crate::config::units::size_text;

/// A secret file longer than this is some other file.
const LONGEST: u64 = 64 << 10;

/// Reads a secret; `None` after reporting why it cannot be had.
pub(super) fn secret(field: &Field<Hidden>, name: &str, directory: &Path, faults: &mut Faults) -> Option<Vec<u8>> {
    let raw = &field.value.as_ref()?.0;
    match (&raw.file.value, &raw.env.value) {
        (Some(_), Some(_)) => {
            let what = format!("`{name}` names both a file and an environment variable");
            faults.fault(&raw.env.span, what, "keep one of them").also(&raw.file.span, "the file");
            None
        }
        (Some(file), None) => from_file(&directory.join(&file.0), &raw.file.span, faults),
        (None, Some(variable)) => from_environment(&variable.0, &raw.env.span, faults),
        // It was reported when it was read.
        (None, None) => None,
    }
}

fn from_file(path: &Path, span: &Span, faults: &mut Faults) -> Option<Vec<u8>> {
    let shown = path.display();
    let mut bytes = Vec::new();
    // What is judged and what is read is one open file, whatever becomes of the name meanwhile.
    let opened = File::open(path).and_then(|mut file| {
        let metadata = file.metadata()?;
        if metadata.is_file() {
            (&mut file).take(LONGEST + 1).read_to_end(&mut bytes)?;
        }
        Ok(metadata)
    });
    let metadata = match opened {
        Ok(metadata) => metadata,
        Err(why) => {
            let help =
                "paths are relative to the configuration file; the gateway's user or group must be able to read it";
            faults.fault(span, format!("the secret's file {shown} cannot be read: {why}"), help);
            return None;
        }
    };
    if !metadata.is_file() || metadata.len() > LONGEST {
        let what = format!("{shown} is no secret: not a file, or longer than {}", size_text(LONGEST));
        faults.fault(span, what, "name the secret's own file");
        return None;
    }
    if is_world_readable(&metadata) {
        let help = "run `chmod o-r` on it; in Kubernetes set `defaultMode: 0440` of the volume, with `fsGroup`";
        faults.fault(span, format!("everybody may read the secret's file {shown}"), help);
        return None;
    }
    // One final newline is an editor's, not the secret's.
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Some(bytes)
}

fn from_environment(variable: &str, span: &Span, faults: &mut Faults) -> Option<Vec<u8>> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty());
    if value.is_none() {
        let help = "set it for the gateway's process, or name a file with `{ file = \"...\" }`";
        faults.fault(span, format!("the environment variable {variable} is not set"), help);
    }
    value.map(|value| value.into_encoded_bytes())
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
