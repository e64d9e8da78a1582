//! The gateway, driven over real sockets: one module per behaviour that a user could name.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness fails by panicking, and is public to the tests beside it"
)]

mod answers;
mod attacks;
mod bearer;
mod chromium;
mod connections;
mod cross_origin;
mod demo;
mod drain;
mod emulated;
mod exhaustion;
mod floods;
mod harness;
mod hostile;
mod hydra;
mod keycloak;
mod keys;
mod kinds;
mod login;
mod metrics;
mod oidc_provider;
mod opaque;
mod overload;
mod paths;
mod policies;
mod prometheus;
mod proven;
mod proxy_protocol;
mod reload;
mod routing;
mod sessions;
mod stores;
mod tls;
#[cfg(feature = "otlp")]
mod traces;
mod upstreams;
mod wire;
