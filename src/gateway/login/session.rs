//! `/session`: what a page may know of its session.

use http::{HeaderMap, Response};
use serde_json::{Map, Value};

use super::Visit;
use crate::gateway::body::Body;
use crate::policy::reject::Reject;
use crate::policy::session::Login;

impl Visit<'_> {
    /// Who is logged in, and for how long. Asking is no use of the session.
    pub(super) async fn session(self, headers: &HeaderMap) -> Result<Response<Body>, Reject> {
        let value = super::session_cookie(headers, self.site)?;
        let Some(live) = self.party.sessions.peek(value).await? else {
            return Err(self.party.sessions.refusal(value).await);
        };
        let Login { subject, claims, .. } = &live.session.login;
        let mut told: Map<String, Value> = claims.clone();
        told.insert("authenticated".to_owned(), true.into());
        told.insert("subject".to_owned(), subject.as_str().into());
        told.insert("expires_in".to_owned(), self.party.sessions.expires_in(&live).into());
        told.insert("logout_url".to_owned(), format!("{}/logout", self.site.path).into());
        Ok(super::json(&Value::Object(told)))
    }
}
