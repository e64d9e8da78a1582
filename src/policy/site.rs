//! Where browsers with sessions see the gateway: an origin, a path on it that is the gateway's own, and a cookie.

use super::cookies::{LOGIN, SameSite};
use super::request::RequestView;

/// How much of a `state` tells the cookies of one browser's logins apart, in bytes.
const STATE: usize = 8;

/// The place of a session in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub usize);

/// Where browsers see us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The name of the session in the configuration.
    pub name: String,
    /// The origin as browsers write it (RFC 6454 section 6.2).
    pub origin: String,
    /// Its host, in lower case and without a port.
    pub host: String,
    /// Our own path there, without a slash at its end: `/auth`.
    pub path: String,
    /// The name of the session's cookie.
    pub cookie: String,
    /// When browsers send it.
    pub same_site: SameSite,
}

impl Site {
    /// The site of tests.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            name: "web".to_owned(),
            origin: "https://app.example.com".to_owned(),
            host: "app.example.com".to_owned(),
            path: "/auth".to_owned(),
            cookie: "__Host-session".to_owned(),
            same_site: SameSite::Lax,
        }
    }

    /// What follows our own path in the path of a request to this site: `/login`, or nothing; `None` where the request is
    /// none of ours. Such a path belongs to no route.
    pub fn beneath<'a>(&self, request: &'a RequestView<'_>) -> Option<&'a str> {
        let rest = request.path().strip_prefix(self.path.as_str())?;
        (request.host() == self.host && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
    }

    /// The name of the cookie that holds the login of that `state` while it is on its way.
    pub fn login_cookie(&self, state: &str) -> String {
        format!("{}{LOGIN}{}", self.cookie, state.get(..STATE).unwrap_or(state))
    }

    /// The address where a browser logs in, with the origin: a route may be at other hosts than our own pages.
    pub fn login(&self) -> String {
        format!("{}{}/login", self.origin, self.path)
    }

    /// The address to which the issuer sends browsers back (RFC 6749 section 3.1.2).
    pub fn redirect_uri(&self) -> String {
        format!("{}{}/callback", self.origin, self.path)
    }
}
