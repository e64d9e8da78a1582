//! Servers that are not ours, as processes. They end with the value, and with the test's own process however that ends.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;

/// A process, and what it wrote.
pub struct Process {
    shell: Child,
    directory: TempDir,
}

/// How long a server may take to listen: one in Java on a busy machine takes minutes.
const PATIENCE: Duration = Duration::from_secs(400);

impl Process {
    /// Starts it with these arguments and environment variables, and returns when it listens at all of those addresses.
    pub async fn start(arguments: &[&str], variables: &[(&str, &str)], addresses: &[SocketAddr]) -> Self {
        let directory = TempDir::new().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        // The shell's input is a pipe that ends with us; then it ends the server, as a service manager would.
        let shell = Command::new("sh")
            .args(["-c", r#""$@" & server=$!; cat >/dev/null; kill "$server"; wait "$server""#, "sh"])
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Self { shell, directory };
        let start = Instant::now();
        for address in addresses {
            while TcpStream::connect(address).await.is_err() {
                assert!(start.elapsed() < PATIENCE, "{arguments:?} does not listen:\n{}", process.log());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        process
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It only fails where the shell has ended already.
        let _ = self.shell.wait();
    }
}

/// What `tests/run --long` has put there; else tells aloud that a suite cannot run. In CI it must be there.
pub fn installed(what: &str, path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{what} is not installed; `tests/run --long` does that");
    // Not by a macro: those are captured, and a test that did nothing must not look like one that did.
    let line = format!("\nSKIPPED: the suite against {what}: it is not installed; `tests/run --long` does that\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}
