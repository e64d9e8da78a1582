//! Secrets, from the file or environment variable that holds them.

use std::path::Path;

use super::files;
use crate::config::fault::{Faults, Span};
use crate::config::read::Hidden;

const SECRET: files::Kind = files::Kind { what: "the secret's file", longest: 64 << 10, secret: true };

/// Reads a secret; `None` after reporting why it cannot be had.
pub(super) fn secret(Hidden(raw): &Hidden, name: &str, directory: &Path, faults: &mut Faults) -> Option<Vec<u8>> {
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
    let mut bytes = files::read(path, &SECRET, span, faults)?;
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
