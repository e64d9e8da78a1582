//! An embedded issuer, a sample API and a tour of every outcome.

pub mod api;
pub mod check;
pub mod configuration;
pub mod directory;
pub mod issuer;
mod loopback;
pub mod provider;
pub mod signer;
pub mod tour;
