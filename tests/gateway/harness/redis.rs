//! Real Redis servers on loopback, each in a directory of its own, whose every write is on disk before it is told of.
//!
//! The program is that of Debian's `redis-tools`: the same file is the server by another name.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server. Dropped, it is killed.
pub struct Redis {
    directory: TempDir,
    port: u16,
    arguments: Vec<String>,
    server: Option<Child>,
}

impl Redis {
    /// A server with these further arguments; none where the program is missing, which is said loudly.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        if let Err(error) = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status()
        {
            assert!(std::env::var_os("CI").is_none(), "redis is needed in CI");
            // Not by a macro: those are captured, and a test that did nothing must not look like one that did.
            let line = format!("\nSKIPPED: redis cannot be started ({error}); Debian has it in `redis-tools`\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut redis = Self { directory: tempfile::tempdir().unwrap(), port, arguments, server: None };
        redis.up();
        Some(redis)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again, with what it had on disk.
    pub fn up(&mut self) {
        let mut command = Command::new(PROGRAM);
        // A sentinel writes into its file.
        if self.arguments.iter().any(|argument| argument == "--sentinel") {
            let file = self.directory.path().join("sentinel.conf");
            std::fs::write(&file, "").unwrap();
            command.arg0("redis-sentinel").arg(file);
        } else {
            command.arg0("redis-server").args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        }
        let port = self.port.to_string();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--dir"]).arg(self.directory.path());
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || self.cli(&["PING"]).contains("LOADING") {
            assert!(begun.elapsed() < PATIENCE, "redis did not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it: nobody is told anything.
    pub fn down(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Stops or continues it where it stands, its connections open.
    pub fn signal(&self, signal: &str) {
        let id = self.server.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// What it answers to a command.
    pub fn cli(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.down();
    }
}

const PROGRAM: &str = "redis-check-rdb";
