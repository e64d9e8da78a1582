//! What browsers ask the gateway itself: the paths beneath the one that a session has for itself.
//!
//! ```text
//! GET  /login                sends the browser to its issuer
//! GET  /callback             takes it back, and makes a session of the code it brings
//! POST /logout               ends the session here first, then at the issuer
//! GET  /session              who is logged in; no token, and no longer life by that
//! POST /backchannel-logout   the issuer ends a login
//! ```
//!
//! Nothing else is there. No answer is kept by anybody, none tells another site where it was asked for, and none holds a
//! token but the one that sends a browser to the issuer's end of session.

mod backchannel;
mod callback;
mod logout;
mod session;
mod start;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::Gateway;
use super::body::Body;
use super::relying_party::RelyingParty;
use crate::config;
use crate::policy::cookies::{self, Found};
use crate::policy::issuer::IssuerId;
use crate::policy::reject::{Reject, Wanted};
use crate::policy::seal::KeyRing;
use crate::policy::site::{Site, SiteId};
use crate::remote::discovery::Fault;
use crate::remote::provider::Known;
use crate::remote::store::{Given, Kind, Name};

/// A path of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Sends a browser to its issuer.
    Login,
    /// Takes a browser back from its issuer.
    Callback,
    /// Ends a session.
    Logout,
    /// Tells a page of its session.
    Session,
    /// Takes an issuer's word that a login is over.
    BackchannelLogout,
}

impl Page {
    /// The page at what follows a site's path.
    ///
    /// # Errors
    ///
    /// `route_unknown`, and `method_not_allowed` with the one method that the page has.
    pub fn at(beneath: &str, method: &Method) -> Result<Self, Reject> {
        let (page, own) = match beneath {
            "/login" => (Self::Login, Method::GET),
            "/callback" => (Self::Callback, Method::GET),
            "/logout" => (Self::Logout, Method::POST),
            "/session" => (Self::Session, Method::GET),
            "/backchannel-logout" => (Self::BackchannelLogout, Method::POST),
            _ => return Err(Reject::RouteUnknown),
        };
        if *method == own { Ok(page) } else { Err(Reject::MethodNotAllowed { allow: own.to_string() }) }
    }
}

/// One request to a page of ours.
struct Visit<'g> {
    gateway: &'g Gateway,
    site: &'g Site,
    own: &'g config::Session,
    party: &'g RelyingParty,
    /// What the browser is to keep or forget, whatever comes of the request.
    cookies: &'g mut Vec<HeaderValue>,
}

/// Answers a request to a page of the site; `set` gets the cookies that go with the answer, a refusal too.
///
/// # Errors
///
/// What is wrong with the request, the login or a party that is needed for it.
pub(super) async fn answer(
    gateway: &Gateway,
    (id, page): (SiteId, Page),
    request: Request<Incoming>,
    set: &mut Vec<HeaderValue>,
) -> Result<Response<Body>, Reject> {
    let in_force = &gateway.in_force;
    let missing = Reject::Internal { why: "a session is not in force" };
    let (Some(site), Some(own), Some(party)) =
        (in_force.rules().sites.get(id.0), in_force.config().sessions.get(id.0), in_force.relying_party(id))
    else {
        return Err(missing);
    };
    let visit = Visit { gateway, site, own, party, cookies: set };
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let mut response = match page {
        Page::Login => visit.start(&head.headers, query).await,
        Page::Callback => visit.callback(&head.headers, query).await,
        Page::Logout => visit.logout(&head.headers).await,
        Page::Session => visit.session(&head.headers).await,
        Page::BackchannelLogout => visit.backchannel_logout(body).await,
    }?;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(REFERRER_POLICY, NO_REFERRER);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    Ok(response)
}

impl Visit<'_> {
    /// The issuer's own place of those in the configuration.
    fn issuer(&self) -> IssuerId {
        self.own.issuer
    }

    /// What is known of the issuer's logins.
    async fn known(&self) -> Result<Arc<Known>, Reject> {
        let provider = Arc::clone(&self.party.provider);
        let unavailable = |fault: Fault| Reject::LoginUnavailable { why: fault.to_string(), help: fault.help() };
        self.gateway.on_control(async move { provider.known().await }).await?.map_err(unavailable)
    }

    fn ring(&self) -> &KeyRing {
        &self.party.sessions.sealer().ring
    }

    /// Has the browser keep this as the value of a cookie, or forget the cookie.
    fn set(&mut self, name: &str, value: Option<(&str, Duration)>) {
        let field = match value {
            Some((value, life)) => cookies::set(name, value, self.site.same_site, life),
            None => cookies::unset(name, self.site.same_site),
        };
        self.cookies.extend(field);
    }

    /// Notes for `life`, once for all replicas, that something of this site happened; whether it had not before.
    async fn happens_once(&self, what: [&str; 2], life: Duration) -> Result<bool, Reject> {
        let Some(mark) = self.marks(&what).into_iter().next() else { return Ok(false) };
        let written = self.party.sessions.store().write(mark, Bytes::from_static(b"1"), life, Given::Absent).await;
        written.map_err(Reject::from)
    }

    /// Whether that was noted before.
    async fn has_happened(&self, what: [&str; 2]) -> Result<bool, Reject> {
        for mark in self.marks(&what) {
            if self.party.sessions.store().read(mark).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where something that happens once is noted: the first is the one to use.
    fn marks(&self, what: &[&str; 2]) -> Vec<Name> {
        let parts = [what[0], &self.site.name, what[1]];
        self.ring().blind(&parts).map(|hash| Name { kind: Kind::Mark, hash }).collect()
    }
}

/// The value of the session's cookie, where the request is to be about one session.
///
/// # Errors
///
/// `credential_missing`, and `session_expired` where it is not clear which session that is.
pub fn session_cookie<'h>(headers: &'h HeaderMap, site: &Site) -> Result<&'h str, Reject> {
    match cookies::find(headers, &site.cookie) {
        Found::Nothing => {
            let wanted = Wanted::Login(site.login());
            Err(Reject::CredentialMissing { found: "there is no session cookie", wanted })
        }
        Found::Unclear => Err(Reject::SessionExpired { why: "its cookie stands there twice, or is no text" }),
        Found::One(value) => Ok(value),
    }
}

/// An answer that sends the browser elsewhere.
fn redirect(status: StatusCode, location: &str) -> Result<Response<Body>, Reject> {
    let location = HeaderValue::from_str(location)
        .map_err(|_| Reject::Internal { why: "an address cannot be sent as a header" })?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// An answer for scripts.
fn json(value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::own(value.to_string().into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// The address of a callback holds a code.
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
