//! Builders for the world around the gateway: an issuer, an upstream, a client, the gateway itself.

pub mod api;
#[allow(dead_code, reason = "some of it is for the tests of the command line alone")]
pub mod binary;
pub mod browser;
pub mod certificates;
pub mod client;
#[cfg(feature = "otlp")]
pub mod collector;
pub mod emulated;
pub mod forms;
pub mod framed;
pub mod frames;
pub mod gateway;
pub mod group;
pub mod guarded;
pub mod introspection;
pub mod issuer;
pub mod log;
pub mod mint;
pub mod passing;
pub mod port;
pub mod process;
pub mod redis;
pub mod replica;
pub mod secret;
pub mod tls;
pub mod tokens;
pub mod upstream;
pub mod world;
