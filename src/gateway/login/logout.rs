//! `/logout`: ends a session, here first, then at the issuer (OpenID Connect RP-Initiated Logout 1.0).

use http::{HeaderMap, Response, StatusCode};
use serde_json::json;
use url::Url;

use super::Visit;
use crate::gateway::body::Body;
use crate::policy::browser;
use crate::policy::cookies::{self, Found};
use crate::policy::reject::Reject;

impl Visit<'_> {
    /// Ends the session of the cookie, if there is one. A browser that shows the answer is sent on to the issuer, with the ID
    /// token as a hint; a script is told the address, without one.
    pub(super) async fn logout(mut self, headers: &HeaderMap) -> Result<Response<Body>, Reject> {
        browser::from_own_origin(headers, self.site)?;
        let live = match cookies::find(headers, &self.site.cookie) {
            Found::One(value) => self.party.sessions.peek(value).await?,
            Found::Nothing | Found::Unclear => None,
        };
        if let Some(live) = &live {
            self.party.sessions.end(live).await?;
        }
        self.set(&self.site.cookie, None);
        // Where the issuer cannot be asked the session is over here all the same.
        let end_session = self.known().await.ok().and_then(|known| known.end_session.clone());
        let hint = live.as_ref().and_then(|live| live.session.id_token.as_deref());
        if browser::shows_answer(headers) {
            let address = end_session.map_or_else(|| "/".to_owned(), |url| self.end_session(url, hint).into());
            return super::redirect(StatusCode::SEE_OTHER, &address);
        }
        let address = end_session.map(|url| String::from(self.end_session(url, None)));
        Ok(super::json(&json!({ "logout_url": address })))
    }

    fn end_session(&self, mut url: Url, hint: Option<&str>) -> Url {
        let mut query = url.query_pairs_mut();
        if let Some(hint) = hint {
            query.append_pair("id_token_hint", hint);
        }
        query
            .append_pair("client_id", &self.own.client.id)
            .append_pair("post_logout_redirect_uri", &format!("{}/", self.site.origin));
        drop(query);
        url
    }
}
