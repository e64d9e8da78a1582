//! The gateway as a process: the binary, with a configuration file, as an operator runs it.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that listens. Dropped, it is gone.
pub struct Binary {
    process: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    output: Vec<JoinHandle<String>>,
    _directory: TempDir,
}

impl Binary {
    /// Starts the gateway. The configuration says port 0 where any will do, and must not silence `info`.
    pub fn start(config: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_bearward"))
            .arg("run")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = mpsc::channel();
        let output =
            vec![collect(process.stdout.take().unwrap(), None), collect(process.stderr.take().unwrap(), Some(lines))];
        let mut told = String::new();
        let (mut address, mut admin) = (None, None);
        while address.is_none() || admin.is_none() {
            let Ok(line) = log.recv_timeout(PATIENCE) else { panic!("the gateway does not listen:\n{told}") };
            match listening(&line) {
                Some((true, found)) => admin = Some(found),
                Some((false, found)) => address = Some(found),
                None => {}
            }
            told.push_str(&line);
        }
        Self { process, address: address.unwrap(), admin: admin.unwrap(), output, _directory: directory }
    }

    /// Sends SIGTERM and waits for the end: how it ended, and all that it wrote.
    pub fn terminate(self) -> (ExitStatus, String) {
        self.signal();
        self.wait()
    }

    /// Sends SIGTERM.
    pub fn signal(&self) {
        self.send("TERM");
    }

    /// Sends the signal of that name.
    pub fn send(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end: how it ended, and all that it wrote.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.process.wait().unwrap();
        let written = self.output.drain(..).map(|reader| reader.join().unwrap()).collect();
        (status, written)
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // Either fails only where the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The address that a log line of either format tells, and whether it is the admin listener's.
fn listening(line: &str) -> Option<(bool, SocketAddr)> {
    if let Ok(line) = serde_json::from_str::<serde_json::Value>(line) {
        let admin = match line["message"].as_str()? {
            "listening" => false,
            "admin listening" => true,
            _ => return None,
        };
        return Some((admin, line["address"].as_str()?.parse().unwrap()));
    }
    let (before, address) = line.split_once("listening address=")?;
    Some((before.ends_with("admin "), address.trim().parse().unwrap()))
}

/// Reads a pipe to its end, so that the process never waits for it.
fn collect(pipe: impl Read + Send + 'static, lines: Option<Sender<String>>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut all = String::new();
        let mut line = String::new();
        while pipe.read_line(&mut line).unwrap() > 0 {
            all.push_str(&line);
            if let Some(lines) = &lines {
                // Nobody reads on once the gateway listens.
                let _ = lines.send(line.clone());
            }
            line.clear();
        }
        all
    })
}
