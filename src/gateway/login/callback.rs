//! `/callback`: takes a browser back from its issuer.
//!
//! In this order: the answer belongs to an attempt of this browser, and comes from its issuer; the attempt counts once, on all
//! replicas; the code is exchanged; the ID token says who it is; the access token is good, or can be renewed; the session is
//! made, with a cookie that nobody had before; a session that the browser had is ended. Where that breaks off after the
//! exchange what was granted is given back, unless the browser has a session: that may be of the same login at the issuer.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value};

use super::Visit;
use crate::gateway::body::Body;
use crate::gateway::sessions::Unclaimed;
use crate::policy::claims::{Claims, NumericDate};
use crate::policy::cookies::{self, Found};
use crate::policy::grant::Granted;
use crate::policy::id_token::{self, Expected, Person};
use crate::policy::jwt::{SignedClaims, UnverifiedJwt};
use crate::policy::login::{self, Attempt, Returned};
use crate::policy::reject::{Quoted, Reject};
use crate::policy::session::Login;
use crate::remote::token_endpoint::{Failure, Grant};

impl Visit<'_> {
    /// Makes a session of what the browser brings.
    pub(super) async fn callback(mut self, headers: &HeaderMap, query: &str) -> Result<Response<Body>, Reject> {
        let known = self.known().await?;
        let attempt = login::attempt(query, headers, self.ring(), self.site, self.gateway.shared.clock().wall());
        if let Some(attempt) = &attempt {
            self.set(&self.site.login_cookie(&attempt.state()), None);
        }
        let returned = login::returned(query, attempt, &self.party.signer.spellings, known.names_itself);
        let Returned { attempt, code } = returned?;
        if !self.happens_once(["state", &attempt.state()], Attempt::LIFE).await? {
            return Err(Reject::LoginStateInvalid { why: "the login of that `state` was completed before" });
        }
        let before = cookies::find(headers, &self.site.cookie);
        let (granted, unclaimed) = self.exchange(&attempt, code, before).await?;
        let (login, issued) = self.who(&attempt, &granted).await?;
        self.lasts(&granted)?;
        let value = self.party.sessions.create(login, granted, issued).await?;
        if let Some(unclaimed) = unclaimed {
            unclaimed.claim();
        }
        self.set(&self.site.cookie, Some((&value, self.own.lifetime)));
        self.replaces(before).await;
        super::redirect(StatusCode::FOUND, attempt.return_to())
    }

    /// What the issuer grants for the code. Where it names no scopes they are those that were asked for (RFC 6749 section 5.1),
    /// and stay so, whatever others are asked for later. It is to be given back where no session comes of it; not so where the
    /// browser has one `before`: with that refresh token some issuers end whatever came of the same person's login there.
    async fn exchange(
        &self,
        attempt: &Attempt,
        code: String,
        before: Found<'_>,
    ) -> Result<(Granted, Option<Unclaimed>), Reject> {
        let (sessions, verifier) = (Arc::clone(&self.party.sessions), attempt.verifier());
        let is_alone = before == Found::Nothing;
        let redirect_uri = self.site.redirect_uri();
        let asked = self.gateway.on_control(async move {
            let grant = Grant::Code { code: &code, verifier: &verifier, redirect_uri: &redirect_uri };
            let granted = sessions.endpoint().ask(grant, None).await?;
            // Here, where it is also done when the browser has left meanwhile.
            let unclaimed = is_alone.then(|| sessions.unclaimed(&granted));
            Ok((granted, unclaimed))
        });
        let (mut granted, unclaimed) = asked.await?.map_err(|failure| match &failure {
            Failure::InvalidGrant => Reject::LoginRefused { error: Quoted::from("invalid_grant"), description: None },
            Failure::Refused { why, .. } => {
                Reject::LoginRefused { error: Quoted::from(why.as_str()), description: None }
            }
            Failure::LeftAlone | Failure::Unavailable { .. } => {
                let (why, help) = failure.told();
                Reject::LoginUnavailable { why: why.to_owned(), help }
            }
        })?;
        granted.access_token.scope.get_or_insert_with(|| self.own.scopes.join(" "));
        Ok((granted, unclaimed))
    }

    /// Who logged in, and when the issuer said so.
    async fn who(&self, attempt: &Attempt, granted: &Granted) -> Result<(Login, NumericDate), Reject> {
        let invalid = |why: String| Reject::LoginIdTokenInvalid { why };
        let text = granted.id_token.as_deref().ok_or_else(|| invalid("there is none".to_owned()))?;
        let signed = self.verified(text).await.map_err(|reject| {
            let why = reject.cause();
            if matches!(reject, Reject::KeysUnavailable { .. }) {
                return Reject::LoginUnavailable { why, help: NO_KEYS };
            }
            invalid(why)
        })?;
        let expected = Expected {
            issuer: &self.party.signer,
            client_id: &self.own.client.id,
            nonce: &attempt.nonce(),
            access_token: &granted.access_token.text,
        };
        let now = NumericDate::from(self.gateway.shared.clock().wall());
        let Person { subject, sid } = id_token::judge(&signed, &expected, now)?;
        let claims = &signed.contents().claims;
        let issued =
            claims.date("iat").ok().flatten().ok_or_else(|| invalid("the claim `iat` is missing".to_owned()))?;
        let login = Login {
            issuer: claims.issuer().map(str::to_owned).unwrap_or_default(),
            subject: subject.to_owned(),
            sid: sid.map(str::to_owned),
            claims: told(claims, &self.own.claims),
        };
        Ok((login, issued))
    }

    /// Refuses an access token whose time is over where nothing renews it: its session would be over, too, and its browser
    /// sent here again and again. Where something does, the first request does that.
    fn lasts(&self, granted: &Granted) -> Result<(), Reject> {
        let spent = granted.access_token.is_spent(self.gateway.shared.clock().wall());
        if !spent || granted.refresh_token.is_some() {
            return Ok(());
        }
        let why = "the issuer granted a token whose time is over, and no refresh token".to_owned();
        Err(Reject::LoginUnavailable { why, help: SPENT })
    }

    /// A token of the issuer for us, its signature verified.
    pub(super) async fn verified(&self, text: &str) -> Result<SignedClaims, Reject> {
        self.gateway.in_force.rules().size(text)?;
        let jwt = UnverifiedJwt::parse(text)?;
        jwt.contents().extensions()?;
        self.gateway.in_force.keys().verify((self.issuer(), &self.party.signer), jwt).await
    }

    /// A session that the browser had is over: nothing of it goes on under the new login.
    async fn replaces(&self, before: Found<'_>) {
        let Found::One(value) = before else { return };
        // Where the store fails now it ends by its age; its cookie is gone in any case.
        if let Ok(Some(live)) = self.party.sessions.peek(value).await {
            let _ = self.party.sessions.leave(&live).await;
        }
    }
}

/// The chosen claims that are there.
fn told(claims: &Claims, chosen: &[String]) -> Map<String, Value> {
    chosen.iter().filter_map(|name| Some((name.clone(), claims.get(name)?.into()))).collect()
}

const SPENT: &str = "see for how long the issuer grants access tokens to this client, and that the clocks agree";

const NO_KEYS: &str = "see that the issuer's key set can be reached; nobody can log in until then";
