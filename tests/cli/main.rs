//! The command line as an operator uses it: the real binary, its output, its exit codes, its signals.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness fails by panicking, and is public to the tests beside it"
)]

mod check;
mod explain;
mod general;
#[allow(dead_code, reason = "it is the gateway's tests' own; some of it is for them alone")]
#[path = "../gateway/harness/mod.rs"]
mod harness;
mod init;
mod inspect;
mod online;
mod reload;
mod run;
mod sessions;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What a command came to.
#[derive(Debug)]
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Done {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a command to its end, with nothing on standard input.
fn bearward(arguments: &[&str]) -> Done {
    bearward_with(arguments, &[], "")
}

/// The same with environment variables and standard input.
fn bearward_with(arguments: &[&str], environment: &[(&str, &Path)], input: &str) -> Done {
    let mut process = Command::new(env!("CARGO_BIN_EXE_bearward"))
        .args(arguments)
        .env_remove("BEARWARD_CONFIG")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended by now.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let done = Done { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!format!("{}{}", done.out, done.err).contains('\u{1b}'), "no colour where nobody looks: {done:?}");
    done
}

/// A directory with files for a command.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
