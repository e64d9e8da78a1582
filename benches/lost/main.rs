//! Nothing lost: whole-process experiments that count what became of each request, and fail where one was lost.
//!
//! `cargo bench --bench lost`, or one of them: `cargo bench --bench lost -- reload` (`stop`, `rotate`, `outage`, `kids`). The gateway is
//! the real binary of the same profile; issuer, upstream and clients are in this process. A client keeps its connections,
//! obeys what ends them (`Connection: close`, GOAWAY), and never sends a request twice.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "an experiment fails by panicking and reports on standard output"
)]

mod client;
mod fate;
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the tests' own world around the gateway"
)]
#[path = "../../tests/gateway/harness/mod.rs"]
mod harness;
#[path = "../harness/heads.rs"]
mod heads;
mod kids;
mod outage;
mod reload;
mod rotate;
mod stop;
mod upstream;
mod world;

use std::process::ExitCode;

use tokio::runtime::Builder;

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let all = ["reload", "stop", "rotate", "outage", "kids"];
    let chosen = all.into_iter().filter(|name| wanted.is_empty() || wanted.iter().any(|word| word == name));
    let outcomes: Vec<bool> = chosen.map(|name| runtime.block_on(experiment(name))).collect();
    assert!(!outcomes.is_empty(), "no such experiment: {wanted:?}");
    if outcomes.iter().all(|good| *good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the experiment of that name was good.
async fn experiment(name: &str) -> bool {
    match name {
        "reload" => reload::run().await,
        "stop" => stop::run().await,
        "rotate" => rotate::run().await,
        "outage" => outage::run().await,
        _ => kids::run().await,
    }
}
