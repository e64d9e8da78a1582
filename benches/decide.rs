//! The times of the pieces of a decision, without sockets: a proven and a fresh token, a refusal before the signature, the
//! look-up of a route among few and many, the heads.
//!
//! `cargo bench --bench decide`. What each costs in instructions and memory, and whether it keeps what is promised, tells
//! `instructions`.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a benchmark fails by panicking")]

#[allow(dead_code, unreachable_pub, reason = "no benchmark uses all of it")]
#[path = "harness/cases.rs"]
mod cases;

use criterion::{Criterion, criterion_group, criterion_main};

fn every_case(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    cases::mint_all(directory.path());
    for case in cases::Case::ALL {
        criterion.bench_function(&case.to_string(), |bench| bench.iter(case.prepare(directory.path())));
    }
}

criterion_group!(benches, every_case);
criterion_main!(benches);
