//! The gateway, driven over real sockets: one module per behaviour that a user could name.

mod harness;
mod keys;
mod wire;
