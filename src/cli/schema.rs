//! `bearward schema`: the JSON Schema of the configuration file, as the repository keeps it in `config.schema.json`.

use std::io::{self, Write};

use crate::config;

/// Writes the schema to `out`.
///
/// # Errors
///
/// What the writer says.
pub fn run(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:#}", config::schema())
}
