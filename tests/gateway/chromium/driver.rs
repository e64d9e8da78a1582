//! Chromium without a screen, driven by WebDriver.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::Method;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use url::Url;

use crate::harness::browser::Browser;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// A browser of its own. Dropped, it is gone.
pub struct Chromium {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts it, or tells aloud why it cannot be had. In CI it must be there.
    pub async fn start() -> Option<Self> {
        match Self::started().await {
            Ok(chromium) => Some(chromium),
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "the suite in a browser cannot run: {why}");
                // Not by a macro: those are captured, and a test that did nothing must not look like one that did.
                let line = format!("\nSKIPPED: the suite in a browser: {why}; `tests/run` installs what it needs\n");
                std::io::stderr().write_all(line.as_bytes()).unwrap();
                None
            }
        }
    }

    async fn started() -> Result<Self, String> {
        let profile = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // The browser is its child, and ends with the group.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("`chromedriver` does not start: {error}"))?;
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            line.strip_prefix("ChromeDriver was started successfully on port ")?
                .trim_end_matches('.')
                .parse::<u16>()
                .ok()
        });
        let port = port.ok_or("`chromedriver` does not say its port")?;
        let mut chromium = Self { driver, session: format!("http://127.0.0.1:{port}"), _profile: profile };
        let profile = chromium._profile.path().display().to_string();
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={profile}"),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": flags } } } });
        let session = chromium.post("/session", &wanted).await;
        let id = session["sessionId"].as_str().ok_or(format!("no session: {session}"))?;
        chromium.session = format!("{}/session/{id}", chromium.session);
        Ok(chromium)
    }

    async fn post(&self, command: &str, body: &Value) -> Value {
        self.send(Method::POST, command, body.to_string()).await
    }

    async fn get(&self, command: &str) -> Value {
        self.send(Method::GET, command, String::new()).await
    }

    async fn send(&self, method: Method, command: &str, body: String) -> Value {
        let url = Url::parse(&format!("{}{command}", self.session)).unwrap();
        let mut client = Browser::default();
        let answer = client.send(method, &url, &[("content-type", "application/json")], body);
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("chromedriver does not answer");
        serde_json::from_str::<Value>(&answer.body).unwrap()["value"].take()
    }

    /// Goes to an address.
    pub async fn go(&self, address: &str) {
        let told = self.post("/url", &json!({ "url": address })).await;
        assert!(told.is_null(), "{address}: {told}");
    }

    /// Where the current tab is.
    pub async fn address(&self) -> String {
        self.get("/url").await.as_str().unwrap().to_owned()
    }

    /// Waits until the current tab is at an address that begins so.
    pub async fn arrives(&self, beginning: &str) {
        let arrival = async {
            while !self.address().await.starts_with(beginning) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let arrived = tokio::time::timeout(PATIENCE, arrival).await;
        if arrived.is_err() {
            panic!(
                "{} instead of {beginning}: {}",
                self.address().await,
                self.run("return document.body.innerText").await
            );
        }
    }

    /// What a script says in the current page; what it waits for is waited for.
    pub async fn run(&self, script: &str) -> Value {
        let body = format!(
            "const done = arguments[0]; (async () => {{ {script} }})().then(done, (error) => done(`failed: ${{error}}`));"
        );
        self.post("/execute/async", &json!({ "script": body, "args": [] })).await
    }

    /// The cookies of the current page, scripts' or not.
    pub async fn cookies(&self) -> Vec<Value> {
        self.get("/cookie").await.as_array().unwrap().clone()
    }

    /// The current tab.
    pub async fn tab(&self) -> Value {
        self.get("/window").await
    }

    /// Opens another tab and goes on there.
    pub async fn another_tab(&self) -> Value {
        let tab = self.post("/window/new", &json!({ "type": "tab" })).await["handle"].take();
        self.turn_to(&tab).await;
        tab
    }

    /// Goes on in that tab.
    pub async fn turn_to(&self, tab: &Value) {
        self.post("/window", &json!({ "handle": tab })).await;
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let group = i32::try_from(self.driver.id()).ok().and_then(Pid::from_raw);
        // Either fails only where all of it has ended already.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.driver.wait();
    }
}
