//! What a token says.

use std::fmt;

/// Seconds since 1970-01-01T00:00:00Z, leap seconds ignored; fractions are allowed (RFC 7519 section 2).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct NumericDate(f64);

impl fmt::Display for NumericDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
