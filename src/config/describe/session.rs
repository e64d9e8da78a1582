//! What `check` shows of a session, and of where it is kept.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::{line, some};
use crate::config::model::{Config, Session};
use crate::config::units::duration_text;
use crate::policy::site::Site;

#[derive(Debug, PartialEq, Serialize)]
pub(in crate::config) struct SessionLine {
    pub(in crate::config) name: String,
    issuer: String,
    origin: String,
    /// What the client must have as its redirect URI at the issuer.
    redirect_uri: String,
    /// Where the issuer sends logout tokens, if it is told to.
    backchannel_logout_uri: String,
    client_id: String,
    auth_method: &'static str,
    timeout: String,
    /// Nothing: the issuer's `endpoints` name all that is needed.
    discovery: Option<String>,
    id_token_algorithms: Vec<&'static str>,
    scopes: Vec<String>,
    parameters: Vec<(String, String)>,
    claims: Vec<String>,
    cookie: String,
    same_site: &'static str,
    /// 0: one is made at each start.
    cookie_keys: usize,
    refresh_before: String,
    idle_timeout: String,
    lifetime: String,
    store: String,
}

impl SessionLine {
    pub(super) fn of(config: &Config, session: &Session, site: &Site) -> Self {
        Self {
            name: session.name.clone(),
            issuer: config.issuers.get(session.issuer.0).map(|issuer| issuer.name.clone()).unwrap_or_default(),
            origin: site.origin.clone(),
            redirect_uri: site.redirect_uri(),
            backchannel_logout_uri: format!("{}{}/backchannel-logout", site.origin, site.path),
            client_id: session.client.id.clone(),
            auth_method: session.client.authentication.name(),
            timeout: duration_text(session.timeout),
            discovery: session.discovery.as_ref().map(ToString::to_string),
            id_token_algorithms: session.id_token_algorithms.iter().map(|algorithm| algorithm.name()).collect(),
            scopes: session.scopes.clone(),
            parameters: session.parameters.clone(),
            claims: session.claims.clone(),
            cookie: site.cookie.clone(),
            same_site: site.same_site.name(),
            cookie_keys: session.keys.len(),
            refresh_before: duration_text(session.refresh_before),
            idle_timeout: duration_text(session.idle_timeout),
            lifetime: duration_text(session.lifetime),
            store: config.store.address.to_string(),
        }
    }
}

impl fmt::Display for SessionLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "session {}", self.name)?;
        line(f, "logs in", &format!("by {}, as {} ({})", self.issuer, self.client_id, self.auth_method))?;
        line(f, "returns", &format!("to {}", self.redirect_uri))?;
        line(f, "logs out", &format!("also by {}", self.backchannel_logout_uri))?;
        if let Some(url) = &self.discovery {
            line(f, "learns", &format!("its endpoints from {url}"))?;
        }
        line(f, "ID tokens", &format!("signed with {}", self.id_token_algorithms.join(", ")))?;
        some(f, "asks for", &self.scopes)?;
        let parameters: Vec<_> = self.parameters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        some(f, "parameters", &parameters)?;
        some(f, "tells", &self.claims)?;
        let keys = match self.cookie_keys {
            0 => "a key made at each start".to_owned(),
            1 => "1 key".to_owned(),
            count => format!("the first of {count} keys"),
        };
        line(f, "cookie", &format!("{}, SameSite={}, sealed with {keys}", self.cookie, self.same_site))?;
        line(f, "lasts", &format!("{}, {} without a request", self.lifetime, self.idle_timeout))?;
        line(f, "refreshed", &format!("{} before its token expires, within {}", self.refresh_before, self.timeout))?;
        line(f, "stored in", &self.store)?;
        f.write_char('\n')
    }
}
