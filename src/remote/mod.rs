//! The parties we call: issuers, stores, upstreams.
//!
//! Nearly all mutable state of the process is here, and each wait, each answer and each retry has a bound. A fault of a
//! party becomes a refusal or a closed error of ours; it never ends the process.

mod breaker;
pub mod client_auth;
pub mod clock;
#[cfg(feature = "otlp")]
pub mod collector;
pub mod discovery;
pub mod http;
pub mod introspect;
pub mod jwks;
pub mod keepalive;
mod learned;
pub mod provider;
pub mod store;
pub mod token_endpoint;
pub mod upstream;
