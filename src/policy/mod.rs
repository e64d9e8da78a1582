//! Everything that decides, as pure functions over values: no async, no clock, no sockets, no randomness, no log.

pub mod claims;
pub mod kind;
pub mod reject;
