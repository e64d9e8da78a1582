//! What a session's cookie opens, and what a session's own pages do.
//!
//! The session is read in the configured store and opened with the configured keys, as the gateway does it, and stays as it
//! is: it lasts no longer by that, and a token of it is not renewed. What hangs on that is not told.

use http::Request;

use super::telling::{Explanation, Standing};
use super::{Step, asking};
use crate::config::Config;
use crate::gateway::{self, Page, Stored, Unopened};
use crate::policy::browser;
use crate::policy::login::return_to;
use crate::policy::policies::Policies;
use crate::policy::reject::{Quoted, Reject};
use crate::policy::route::Route;
use crate::policy::session;
use crate::policy::site::{Site, SiteId};

impl Explanation {
    /// The steps from the opening of a session on.
    pub(super) async fn by_session(
        mut self,
        config: &Config,
        route: &Route,
        policies: &Policies,
        cookie: &str,
        online: bool,
    ) -> Result<Self, String> {
        let own = route.session.and_then(|id| Some((id, config.sessions.get(id.0)?)));
        let Some((id, own)) = own else { return Ok(self.ending(Step::Credential, NOT_IN_FORCE)) };
        let Some(stored) = self.opened(config, id, cookie).await? else { return Ok(self) };
        if stored.standing == session::Standing::Spent {
            self.steps.unseen(Step::Size, SPENT, "let the browser send one request, then explain again");
            return Ok(self);
        }
        match gateway::by_grant(own, &stored.session, policies, &config.rules) {
            Ok(Some(caller)) => {
                self.size(&config.rules, &stored.session.access_token.text);
                let how = "opaque: judged by what was granted with it".to_owned();
                self.steps.passed(Step::Shape, how);
                let issuer = (caller.issuer_id(), caller.issuer());
                self.judged_by(route, policies, issuer, caller.claims(), Standing::Told);
                Ok(self)
            }
            Err(reject) => {
                self.size(&config.rules, &stored.session.access_token.text);
                Ok(self.ending(Step::Kind, reject))
            }
            Ok(None) => {
                self.renewable = stored.session.may_be_hastened(stored.seen);
                self.token(config, route, policies, &stored.session.access_token.text, online).await
            }
        }
    }

    /// The step that opens the session of a cookie; none where it could not be opened, or not from here.
    async fn opened(&mut self, config: &Config, id: SiteId, cookie: &str) -> Result<Option<Stored>, String> {
        match gateway::stored(config, id, cookie, &asking::fetching()?).await {
            Ok(stored) => {
                let name = config.rules.sites.get(id.0).map_or("", |site| site.name.as_str());
                self.steps.passed(Step::Credential, saw(name, &stored));
                Ok(Some(stored))
            }
            Err(Unopened::Refused(reject)) => {
                self.steps.refused(Step::Credential, reject);
                Ok(None)
            }
            Err(Unopened::Elsewhere { why, help }) => {
                self.steps.unseen(Step::Credential, why, help);
                Ok(None)
            }
        }
    }

    /// The steps of a request to a page of a session's own.
    pub(super) async fn own_page(
        mut self,
        config: &Config,
        (id, beneath): (SiteId, &str),
        request: &Request<()>,
    ) -> Result<Self, String> {
        let site = config.rules.sites.get(id.0);
        let Some(site) = site else { return Ok(self.ending(Step::Route, NOT_IN_FORCE)) };
        let page = match Page::at(beneath, request.method()) {
            Ok(page) => page,
            Err(reject) => return Ok(self.ending(Step::Route, reject)),
        };
        self.steps.passed(Step::Route, format!("session {}: {}", site.name, about(page)));
        match page {
            Page::Login => {
                let query = request.uri().query().unwrap_or_default();
                self.steps.passed(Step::Credential, format!("none is looked at; {}", leads_to(query, site)));
            }
            Page::Callback => self.steps.skipped(Step::Credential, AT_THE_ISSUER),
            Page::Logout => {
                let from_us = browser::from_own_origin(request.headers(), site);
                let saw = || "from a page of ours; whatever the cookie opens is ended".to_owned();
                self.steps.judged(Step::Credential, from_us, Standing::Told, saw);
            }
            Page::Session => match gateway::session_cookie(request.headers(), site) {
                Ok(cookie) => drop(self.opened(config, id, cookie).await?),
                Err(reject) => self.steps.refused(Step::Credential, reject),
            },
            Page::BackchannelLogout => self.steps.skipped(Step::Credential, IN_THE_BODY),
        }
        Ok(self)
    }
}

/// What a page of a session's own does.
fn about(page: Page) -> &'static str {
    match page {
        Page::Login => "sends the browser to its issuer, by authorization code with PKCE",
        Page::Callback => "takes the browser back from its issuer, and makes a session of the code that it brings",
        Page::Logout => "ends the session here, gives its refresh token back, and leads to the issuer's end of session",
        Page::Session => "tells a page who is logged in; no token, and the session lasts no longer by that",
        Page::BackchannelLogout => {
            "ends the sessions that the issuer's logout token is about (Back-Channel Logout 1.0)"
        }
    }
}

fn leads_to(query: &str, site: &Site) -> String {
    match return_to(query, site) {
        Some(address) => format!("afterwards the browser goes to {}", Quoted::from(address.as_str())),
        None => "`return_to` is no page of this origin: afterwards the browser goes to \"/\"".to_owned(),
    }
}

/// What is told of a session that was opened. Whose it is stands there as in the gateway's answers: the ID token said so.
fn saw(name: &str, stored: &Stored) -> String {
    let Stored { session, standing, seen, .. } = stored;
    let subject = Quoted::from(session.login.subject.as_str());
    let left = session.access_token.expires.map(|expires| expires.duration_since(*seen).unwrap_or_default().as_secs());
    let token = match left {
        None => "has no known end".to_owned(),
        Some(_) if *standing == session::Standing::Spent => "is spent".to_owned(),
        Some(left) if *standing == session::Standing::Ending => {
            format!("ends in {left} s, and would be renewed meanwhile")
        }
        Some(left) => format!("is good for {left} s"),
    };
    format!("session {name} of subject {subject}; its access token {token}")
}

const NOT_IN_FORCE: Reject = Reject::Internal { why: "a session is not in force" };

/// Why a spent token is not judged.
const SPENT: &str = "the gateway has a spent access token renewed first, which would change the session";

/// Why a callback is not judged.
const AT_THE_ISSUER: &str =
    "a code counts once, at the issuer, and with its `state` only in the browser that began the login";

/// Why a logout token is not judged.
const IN_THE_BODY: &str = "the logout token stands in the request's body; `bearward inspect` tells what it says";
