//! The straight line of a request.

pub mod body;
pub mod forward;
pub mod request_body;
pub mod respond;

pub use self::body::Body;
