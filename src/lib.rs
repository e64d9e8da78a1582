//! Bearward: a gateway that lets a request through only with a proven access token, and says why when it does not.
//!
//! # Layers
//!
//! One row; a module uses only what stands to its left, and a test holds every `crate::` path against it:
//!
//! ```text
//! policy | telemetry | config | remote | gateway | server | demo | cli | main
//! pure     emits       files    IO       IO        IO       IO     IO
//! ```
//!
//! - [`policy`] is everything that decides, as pure functions over values: no clock, no socket, no randomness, no log.
//!   `now` is an argument.
//! - [`telemetry`] turns one record per finished request into the access line and the metrics.
//! - [`config`] reads the file, and the files it names, once, into one immutable model; it reports every fault at once.
//! - [`remote`] speaks to the parties we call: issuers, stores of sessions, upstreams. Nearly all mutable state is there.
//! - [`gateway`] is the straight line of a request.
//! - [`server`] owns sockets, workers, reload, drain and the admin listener.
//! - [`demo`] is an embedded issuer, a sample API and a tour of every outcome.
//! - [`cli`] is the command line.
//!
//! # The way of one request
//!
//! ```text
//! head      policy::request    what can be read two ways is refused before anything is decided on it
//! login     gateway::login     a session's own paths are answered here, and take no route
//! route     policy::route      host, then path, then method; no fall-back to a broader one
//! preflight policy::cors       where the route takes preflights they are not judged: nobody can send a token with one
//! credential policy::credential
//! session   gateway::sessions  where the credential is a cookie: the access token that it stands for, kept fresh
//! token     UnverifiedJwt -> SignedClaims -> Principal -> Permit
//! forward   gateway::forward   takes a Permit: forwarding without a verdict does not compile
//! outcome   telemetry          one record when the body ends
//! ```
//!
//! # Invariants
//!
//! - Each proof value can be made only by the step before it; nothing but what an issuer signed, answered or granted leads
//!   to a [`policy::principal::Principal`], and nothing but a route's verdict to a [`policy::permit::Permit`].
//! - The rules of the decision are one ordered list; `run` walks it to the first refusal, `explain` to the end.
//! - [`policy::reject::Reject`] is the one list of refusals; answers, metrics, log, `explain` and the README come from it.
//! - One snapshot of the configuration is loaded per request and kept to its end.
//! - No token is ever written: not to a log, a metric, an error body or a `Debug` text.
//!
//! # Reading order
//!
//! [`policy::reject`], [`policy::request`], [`policy::route`], [`policy::jwt`], [`policy::kind`], [`policy::permit`], then
//! [`gateway`].

pub mod cli;
pub mod config;
pub mod demo;
pub mod gateway;
pub mod policy;
pub mod remote;
pub mod server;
pub mod telemetry;
