//! `bearward completions` and `bearward man`: what packages install beside the binary, made from the command line itself.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Arguments;

/// Writes the script that completes commands and options in this shell.
///
/// # Errors
///
/// It cannot be written.
pub fn completions(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    // Into memory first: the generator panics where its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "bearward", &mut script);
    out.write_all(&script)
}

/// Writes a manual page for the whole and one for each command: `bearward.1`, `bearward-run.1`, and so on.
///
/// # Errors
///
/// They cannot be written.
pub fn man(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Arguments::command(), directory)
}
