//! The gateway as a process: the binary, with a configuration file, as an operator runs it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use super::client::Client;

/// The configuration's name in a directory of its own.
const FILE: &str = "config.toml";

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that listens. Dropped, it is gone.
pub struct Binary {
    process: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    output: Vec<JoinHandle<String>>,
    /// Standard output where nobody reads it.
    unread: Option<ChildStdout>,
    log: Receiver<String>,
    /// The lines that came before it listened, and were not asked for.
    told: RefCell<VecDeque<String>>,
    directory: TempDir,
}

/// What the process finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// All that it needs.
    Plenty,
    /// No more than so many files may be open.
    Files(u32),
    /// It is in the control group of this directory.
    Group(&'a Path),
    /// The authorities of this file, where it would believe those of the system.
    Authorities(&'a Path),
    /// Standard output is a pipe that nobody reads.
    StuckOutput,
    /// Standard output is a pipe whose reader has gone.
    ClosedOutput,
    /// Standard output is a file on a full disk.
    FullOutput,
}

impl Binary {
    /// Starts the gateway. The configuration says port 0 where any will do, and must not silence `info`.
    pub fn start(config: &str) -> Self {
        Self::start_where(config, Found::Plenty)
    }

    /// The same where it finds that.
    pub fn start_where(config: &str, found: Found<'_>) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join(FILE);
        std::fs::write(&file, config).unwrap();
        let binary = env!("CARGO_BIN_EXE_bearward");
        let bound = match found {
            Found::Files(limit) => format!("ulimit -n {limit}"),
            Found::Group(group) => format!("echo $$ > {}", group.join("cgroup.procs").display()),
            Found::Authorities(file) => format!("export SSL_CERT_FILE={}", file.display()),
            Found::Plenty | Found::StuckOutput | Found::ClosedOutput | Found::FullOutput => "true".to_owned(),
        };
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{bound} && exec \"$0\" \"$@\"")).arg(binary);
        let out = if found == Found::FullOutput {
            File::options().write(true).open("/dev/full").unwrap().into()
        } else {
            Stdio::piped()
        };
        let mut process = command
            .arg("run")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = mpsc::channel();
        let mut output = vec![collect(process.stderr.take().unwrap(), Some(lines))];
        let mut unread = process.stdout.take().filter(|_| found != Found::ClosedOutput);
        if found != Found::StuckOutput
            && let Some(pipe) = unread.take()
        {
            output.insert(0, collect(pipe, None));
        }
        let mut told = VecDeque::new();
        let (mut address, mut admin) = (None, None);
        while address.is_none() || admin.is_none() {
            let Ok(line) = log.recv_timeout(PATIENCE) else { panic!("the gateway does not listen:\n{told:?}") };
            match listening(&line) {
                Some((true, found)) => admin = Some(found),
                Some((false, found)) => address = Some(found),
                None => {}
            }
            told.push_back(line);
        }
        let told = RefCell::new(told);
        Self { process, address: address.unwrap(), admin: admin.unwrap(), output, unread, log, told, directory }
    }

    /// Its configuration file.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join(FILE)
    }

    /// The next line on standard error that holds this text.
    pub fn says(&self, text: &str) -> String {
        loop {
            let told = self.told.borrow_mut().pop_front().or_else(|| self.log.recv_timeout(PATIENCE).ok());
            let Some(line) = told else { panic!("the gateway does not say {text}") };
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The memory that the kernel holds resident for the process, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// How many files the process has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// The value of one sample of `/metrics`.
    pub async fn sample(&self, series: &str) -> Option<f64> {
        let text = Client::connect(self.admin).await.get("/metrics").await;
        let line = text.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }

    /// Returns once that sample has this value. What is counted at a connection's end is counted a moment after its client has
    /// seen that end.
    pub async fn counted(&self, series: &str, value: f64) {
        self.counted_where(series, |sample| sample == value).await;
    }

    /// Returns once this holds of that sample.
    pub async fn counted_where(&self, series: &str, holds: impl Fn(f64) -> bool) {
        let sampled = async { while !self.sample(series).await.is_some_and(&holds) {} };
        let counted = tokio::time::timeout(PATIENCE, sampled).await;
        assert!(counted.is_ok(), "{series} is {:?}", self.sample(series).await);
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
        self.unread = None;
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
                // Nobody may be reading any more.
                let _ = lines.send(line.clone());
            }
            line.clear();
        }
        all
    })
}
