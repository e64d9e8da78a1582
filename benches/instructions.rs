//! What the pieces of a decision cost: instructions, memory allocated and time for each case, and whether the promises hold.
//!
//! `cargo bench --bench instructions`; needs `valgrind` (Debian: the package of that name). Instructions and allocations are
//! counted by running a case few and many times, each in a process of its own, and taking the difference; they do not
//! depend on what else the machine does. Times are the least of many short rounds in which all cases take turns.
//!
//! To see where the instructions of one case go, give the benchmark's own binary `mint DIRECTORY`, then run it under
//! `valgrind --tool=callgrind` with `run CASE DIRECTORY TIMES`.
//!
//! Valgrind has no AVX-512: where a library has code of its own for that, its instructions are those of older processors.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking and reports on standard output"
)]

#[allow(dead_code, unreachable_pub, reason = "no benchmark uses all of it")]
#[path = "harness/cases.rs"]
mod cases;

use std::path::Path;
use std::process::{Command, exit};
use std::time::{Duration, Instant};

use cases::Case;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [_, "mint", directory] => cases::mint_all(Path::new(directory)),
        [_, "run", case, directory, times] => {
            let mut run = Case::named(case).prepare(Path::new(directory));
            (0..times.parse().unwrap()).for_each(|_: u32| run());
        }
        _ => report(),
    }
}

/// What one run of a case costs.
struct Cost {
    case: Case,
    instructions: u64,
    bytes: u64,
    blocks: u64,
    nanoseconds: f64,
}

fn report() {
    let directory = tempfile::tempdir().unwrap();
    cases::mint_all(directory.path());
    let times = least_times(directory.path());
    println!("| case | instructions | bytes allocated | in blocks | time |\n|---|---|---|---|---|");
    let mut costs = Vec::new();
    for (&case, nanoseconds) in Case::ALL.iter().zip(times) {
        let instructions = count("callgrind", "Collected : ", case, directory.path())[0];
        let memory = count("dhat", "Total:", case, directory.path());
        let (bytes, blocks) = (memory[0], memory[1]);
        println!("| {case} | {instructions} | {bytes} | {blocks} | {:.2} us |", nanoseconds / 1000.0);
        costs.push(Cost { case, instructions, bytes, blocks, nanoseconds });
    }
    println!();
    if !promises(&costs) {
        exit(1);
    }
}

/// Tells whether each promise holds, and whether all do.
fn promises(costs: &[Cost]) -> bool {
    let of = |case: Case| costs.iter().find(|cost| cost.case == case).unwrap();
    let (short, long) = (of(Case::Proven(700)), of(Case::Proven(7000)));
    let opaque = of(Case::Opaque);
    let (fresh, library, floor) = (of(Case::Fresh("RS256")), of(Case::Library("RS256")), of(Case::Floor("RS256")));
    let (few, many) = (of(Case::Route(10)), of(Case::Route(10_000)));
    let by_time = |one: &Cost, other: &Cost| one.nanoseconds / other.nanoseconds;
    let by_count = |one: &Cost, other: &Cost| one.instructions as f64 / other.instructions as f64;
    // The mean has a part in it of the cache's own upkeep, which differs a little.
    let same_memory = short.bytes.abs_diff(long.bytes) <= 8 && short.blocks.abs_diff(long.blocks) <= 1;
    let lines = [
        (short.nanoseconds <= 2000.0, format!("a proven token in {:.2} us, at most 2", short.nanoseconds / 1000.0)),
        (
            of(Case::Session).nanoseconds - short.nanoseconds <= 3000.0,
            format!(
                "a session's cookie in {:.2} us more than its token as Bearer, at most 3",
                (of(Case::Session).nanoseconds - short.nanoseconds) / 1000.0
            ),
        ),
        (
            by_time(opaque, short) <= 1.2 && by_count(opaque, short) <= 1.2,
            format!(
                "an opaque token that was answered before in {:.2} of a proven one by time and {:.2} by instructions, at most 1.2",
                by_time(opaque, short),
                by_count(opaque, short)
            ),
        ),
        (same_memory, format!("{} and {} bytes allocated for a short and a long one", short.bytes, long.bytes)),
        (
            by_time(fresh, library) <= 1.2 && by_count(fresh, library) <= 1.2,
            format!(
                "a fresh RS256 token in {:.2} of jsonwebtoken's bare check by time and {:.2} by instructions, at most 1.2; {:.2} and {:.2} of aws-lc-rs's with a parsed key",
                by_time(fresh, library),
                by_count(fresh, library),
                by_time(fresh, floor),
                by_count(fresh, floor)
            ),
        ),
        (
            by_count(many, few) <= 2.0,
            format!(
                "a route among 10,000 in {:.2} of one among 10 by instructions and {:.2} by time, at most 2",
                by_count(many, few),
                by_time(many, few)
            ),
        ),
    ];
    for (holds, line) in &lines {
        println!("{}: {line}", if *holds { "holds" } else { "MISSED" });
    }
    lines.iter().all(|(holds, _)| *holds)
}

/// The numbers on valgrind's line that begins with `mark`, for one run of the case.
fn count(tool: &str, mark: &str, case: Case, directory: &Path) -> Vec<u64> {
    let (few, many) = if case.is_signature() { (5, 55) } else { (10, 1010) };
    let [few_counts, many_counts] = [few, many].map(|times| valgrind(tool, mark, case, directory, times));
    few_counts.iter().zip(many_counts).map(|(few_count, count)| (count - few_count) / u64::from(many - few)).collect()
}

fn valgrind(tool: &str, mark: &str, case: Case, directory: &Path, times: u32) -> Vec<u64> {
    let output = Command::new("valgrind")
        .args([&format!("--tool={tool}"), &format!("--{tool}-out-file=/dev/null")])
        .arg(std::env::current_exe().unwrap())
        .args(["run", &case.to_string(), directory.to_str().unwrap(), &times.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("valgrind (Debian: the package of that name): {error}"));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    let numbers = told.lines().find_map(|line| line.split_once(mark)).unwrap_or_else(|| panic!("{told}")).1;
    let digits = numbers.split_whitespace().map(|word| word.replace(',', ""));
    digits.filter_map(|word| word.parse().ok()).collect()
}

/// The least time of one run of each case, in nanoseconds.
fn least_times(directory: &Path) -> Vec<f64> {
    const ROUNDS: usize = 100;
    const ROUND: Duration = Duration::from_millis(2);
    let mut runs: Vec<_> = Case::ALL.iter().map(|case| case.prepare(directory)).collect();
    let mut least = vec![f64::INFINITY; runs.len()];
    for _ in 0..ROUNDS {
        for (run, least) in runs.iter_mut().zip(&mut least) {
            let (begun, mut times) = (Instant::now(), 0_u32);
            while begun.elapsed() < ROUND {
                (0..16).for_each(|_| run());
                times += 16;
            }
            *least = least.min(begun.elapsed().as_nanos() as f64 / f64::from(times));
        }
    }
    least
}
