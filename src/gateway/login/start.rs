//! `/login`: sends a browser to its issuer.

use http::{HeaderMap, Response, StatusCode};
use url::form_urlencoded;

use super::Visit;
use crate::gateway::body::Body;
use crate::gateway::sessions::secret;
use crate::policy::login::{Attempt, Request, return_address};
use crate::policy::reject::Reject;
use crate::telemetry::labels::SessionEvent;

impl Visit<'_> {
    /// Begins a login beside those that are on their way.
    pub(super) async fn start(mut self, headers: &HeaderMap, query: &str) -> Result<Response<Body>, Reject> {
        let return_to = self.return_to(query);
        let known = self.known().await?;
        let attempt = Attempt::new(secret()?, return_to, self.gateway.shared.clock().wall());
        let request =
            Request { client_id: &self.own.client.id, scopes: &self.own.scopes, parameters: &self.own.parameters };
        let address = request.address(&known.authorization, self.site, &attempt);
        let attempts = self.attempts(headers).with(attempt);
        let sealed = attempts.seal(self.ring(), self.site, secret()?);
        let sealed = sealed.ok_or(Reject::Internal { why: "a login cannot be sealed" })?;
        self.set(&self.site.login_cookie(), Some((&sealed, Attempt::LIFE)));
        super::redirect(StatusCode::FOUND, address.as_str())
    }

    /// Where the browser is to come back to: what it asks for, where that is a page of ours.
    fn return_to(&self, query: &str) -> String {
        let mut asked = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "return_to");
        let (first, second) = (asked.next(), asked.next());
        let Some((_, first)) = first else { return "/".to_owned() };
        let address = if second.is_none() { return_address(&first, self.site) } else { None };
        address.unwrap_or_else(|| {
            self.party.sessions.count(SessionEvent::ReturnToRefused);
            "/".to_owned()
        })
    }
}
