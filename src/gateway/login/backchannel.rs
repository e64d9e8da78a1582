//! `/backchannel-logout`: the issuer ends a login (OpenID Connect Back-Channel Logout 1.0).

use std::time::Duration;

use http::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use url::form_urlencoded;

use super::Visit;
use crate::gateway::body::Body;
use crate::policy::claims::NumericDate;
use crate::policy::logout_token::{self, Logout};
use crate::policy::reject::Reject;

/// The longest form, in bytes.
const LONGEST: usize = 64 * 1024;

/// How long the form may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Visit<'_> {
    /// Ends the sessions that the logout token in the form is about.
    pub(super) async fn backchannel_logout(self, body: Incoming) -> Result<Response<Body>, Reject> {
        let form = self.form(body).await?;
        let signed = self.verified(&token(&form)?).await.map_err(|reject| {
            // The token may be good: the issuer can send it again.
            if matches!(reject, Reject::KeysUnavailable { .. }) { reject } else { invalid(reject.cause()) }
        })?;
        let now = NumericDate::from(self.gateway.shared.clock().wall());
        let logout = logout_token::judge(&signed, &self.party.signer, &self.own.client.id, now)?;
        let life = Duration::from_secs(logout_token::OLDEST + 2 * self.party.signer.leeway);
        // Noted at the end: where the store fails on the way, the issuer can send it again.
        if self.has_happened(["jti", logout.id]).await? {
            return Err(invalid("it was used before"));
        }
        let Logout { issuer, sid, subject, issued, .. } = logout;
        let sessions = &self.party.sessions;
        let ended = match (sid, subject) {
            (Some(sid), _) => sessions.end_by_sid(issuer, sid, issued).await?,
            (None, Some(subject)) => sessions.end_by_subject(issuer, subject, issued).await?,
            (None, None) => 0,
        };
        self.happens_once(["jti", logout.id], life).await?;
        if ended == 0 {
            return Err(invalid("no session here is of that login"));
        }
        Ok(Response::new(Body::empty()))
    }

    async fn form(&self, body: Incoming) -> Result<Vec<u8>, Reject> {
        let clock = self.gateway.shared.clock();
        let read = clock.until(clock.now().after(PATIENCE), Limited::new(body, LONGEST).collect()).await;
        match read {
            Ok(Ok(whole)) => Ok(whole.to_bytes().to_vec()),
            Ok(Err(_)) => Err(invalid("the form is longer than any, or broke off")),
            Err(_) => Err(Reject::RequestTimeout),
        }
    }
}

/// The one `logout_token` of the form.
fn token(form: &[u8]) -> Result<String, Reject> {
    let mut tokens = form_urlencoded::parse(form).filter(|(name, _)| name == "logout_token").map(|(_, token)| token);
    match (tokens.next(), tokens.next()) {
        (Some(token), None) => Ok(token.into_owned()),
        (None, _) => Err(invalid("the form has no `logout_token`")),
        (Some(_), Some(_)) => Err(invalid("the form has two")),
    }
}

fn invalid(why: impl Into<String>) -> Reject {
    Reject::LogoutTokenInvalid { why: why.into() }
}
