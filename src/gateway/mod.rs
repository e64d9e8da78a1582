//! The straight line of a request.

mod authenticate;
