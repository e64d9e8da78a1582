//! `/login`: sends a browser to its issuer.

use http::{HeaderMap, Response, StatusCode};

use super::Visit;
use crate::gateway::body::Body;
use crate::gateway::sessions::secret;
use crate::policy::login::{Attempt, Request, outgrown, return_to};
use crate::policy::reject::Reject;
use crate::telemetry::labels::SessionEvent;

impl Visit<'_> {
    /// Begins a login beside those that are on their way.
    pub(super) async fn start(mut self, headers: &HeaderMap, query: &str) -> Result<Response<Body>, Reject> {
        let return_to = return_to(query, self.site).unwrap_or_else(|| {
            self.party.sessions.count(SessionEvent::ReturnToRefused);
            "/".to_owned()
        });
        let known = self.known().await?;
        let now = self.gateway.shared.clock().wall();
        let attempt = Attempt::new(secret()?, return_to, now);
        let request =
            Request { client_id: &self.own.client.id, scopes: &self.own.scopes, parameters: &self.own.parameters };
        let address = request.address(&known.authorization, self.site, &attempt);
        let sealed = attempt.seal(self.ring(), self.site, secret()?);
        let sealed = sealed.ok_or(Reject::Internal { why: "a login cannot be sealed" })?;
        for name in outgrown(headers, self.ring(), self.site, now, sealed.len()) {
            self.set(&name, None);
        }
        self.set(&self.site.login_cookie(&attempt.state()), Some((&sealed, Attempt::LIFE)));
        super::redirect(StatusCode::FOUND, address.as_str())
    }
}
