//! Which kind of token it is, and by which evidence.

use std::fmt;

/// The kinds of token that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// For an API: the only kind that is let through (RFC 9068).
    Access,
    /// Tells an application who logged in (OpenID Connect Core section 2).
    Id,
    /// Buys the next access token (RFC 6749 section 1.5).
    Refresh,
    /// Ends a session by the back channel (OpenID Connect Back-Channel Logout section 2.4).
    Logout,
    /// None of these could be shown.
    Unknown,
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Access => "access token",
            Self::Id => "ID token",
            Self::Refresh => "refresh token",
            Self::Logout => "logout token",
            Self::Unknown => "token of unknown kind",
        })
    }
}

/// What showed the kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence(pub String);

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
