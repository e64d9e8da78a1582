//! What upstreams of every kind are asked, what becomes of their answers, and of their faults.

mod bounds;
mod cut_off;
mod faults;
mod grpc;
mod http2;
mod left;
mod places;
mod retries;
mod tls;

use crate::harness::gateway::Served;

/// A gateway with one public route to an upstream of this URL, with further lines in its section.
fn gateway(url: &str, lines: &str) -> Served {
    Served::start(&toml(url, lines))
}

/// The configuration of that gateway.
fn toml(url: &str, lines: &str) -> String {
    format!(
        "[upstreams.api]\nurl = \"{url}\"\n{lines}\n\n\
         [[routes]]\nname = \"all\"\npath = \"/*\"\npolicy = \"public\"\nupstream = \"api\"\n"
    )
}

/// The name of a series of the upstream's, with one more label.
fn series(family: &str, label: &str, value: &str) -> String {
    let mut labels = [format!("{label}=\"{value}\""), "upstream=\"api\"".to_owned()];
    labels.sort();
    format!("bearward_upstream_{family}{{{}}}", labels.join(","))
}

/// How often what can go wrong in many places is tried in each of them: once, and as often as `tests/run --long` wants.
fn rounds() -> usize {
    std::env::var("FAULT_ROUNDS").map_or(1, |rounds| rounds.parse().expect("FAULT_ROUNDS is a number"))
}

fn connections(state: &str) -> String {
    series("connections", "state", state)
}

fn errors(code: &str) -> String {
    series("errors_total", "code", code)
}
