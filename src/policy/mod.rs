//! Everything that decides, as pure functions over values: no async, no clock, no sockets, no randomness, no log.

pub mod claims;
pub mod forwarded;
pub mod headers;
pub mod json;
pub mod kind;
pub mod reject;
pub mod trace;
