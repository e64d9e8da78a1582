//! The tests' own minting, for the benchmarks.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "as in the tests"
)]

#[path = "../../tests/gateway/harness/mint.rs"]
mod minting;

pub use self::minting::*;
