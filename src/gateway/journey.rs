//! What is known of a request on its way, and the one record at its end, whichever that is: its answer's, or that of a client
//! which leaves before there is one.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use hyper::body::Incoming;

use super::authenticate::Claimed;
use super::body::{Body, Ending};
use super::random::random;
use super::respond::{Asked, refuse};
use super::{Gateway, Peer, page};
use crate::policy::browser;
use crate::policy::cookies;
use crate::policy::cors::{self, CrossOrigin};
use crate::policy::forwarded::{Client, Hop};
use crate::policy::permit::{Grounds, Permit};
use crate::policy::principal::Principal;
use crate::policy::reject::{Code, Reject};
use crate::policy::request::RequestView;
use crate::policy::route::Route;
use crate::policy::site::SiteId;
use crate::policy::trace::{RequestId, Trace};
use crate::telemetry::labels::{By, Decision, SessionEvent};
use crate::telemetry::log;
use crate::telemetry::metrics::Held;
use crate::telemetry::{Answer, Outcome, Visit};

/// A request on its way. Dropped, it is over, and recorded.
pub(super) struct Journey {
    gateway: Arc<Gateway>,
    /// When it began.
    pub(super) begun: Instant,
    at: SystemTime,
    method: Method,
    uri: Uri,
    asked: Asked,
    /// Who the client is.
    pub(super) client: Client,
    _in_flight: Held,
    /// Where it came from.
    pub(super) hop: Hop,
    /// Its id.
    pub(super) request_id: RequestId,
    /// Its trace.
    pub(super) trace: Trace,
    /// The place of its route, once that was found.
    route: Option<usize>,
    /// The route that says who may read the answers, and the origin of the page that asks.
    reading: Option<(usize, Option<HeaderValue>)>,
    /// The site whose own page it asks for, or whose session its route takes.
    pub(super) site: Option<SiteId>,
    /// What the browser is to keep or forget, whatever comes of the request.
    pub(super) cookies: Vec<HeaderValue>,
    /// Whether the user goes to a page by it, without a credential but perhaps a cookie.
    navigates: bool,
    /// Whose token it bears, once that was found.
    pub(super) claimed: Claimed,
    /// The verdict, once it was given.
    decision: Option<Decision>,
    /// The upstream that it was let through to, and when it got a place there.
    sent: Option<(usize, Option<Instant>)>,
    /// What went wrong after the verdict.
    failure: Option<Code>,
    /// The head of its answer, once there was one.
    answer: Option<Answer>,
}

impl Journey {
    /// Notes what a request says about itself.
    pub(super) fn begin(gateway: &Arc<Gateway>, request: &Request<Incoming>, peer: Peer) -> Self {
        let (shared, trusted) = (&gateway.shared, |address| gateway.in_force.trusts(address));
        let hop = Hop { peer: peer.address.ip(), trusted: trusted(peer.address.ip().to_canonical()), tls: peer.tls };
        let headers = request.headers();
        let kept = if hop.trusted { RequestId::kept(headers) } else { None };
        Self {
            gateway: Arc::clone(gateway),
            begun: Instant::now(),
            at: shared.clock().wall(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            asked: Asked::by(request),
            client: Client::of(headers, hop, trusted),
            _in_flight: shared.telemetry().metrics.request_started(),
            hop,
            request_id: kept.unwrap_or_else(|| RequestId::made(random())),
            trace: Trace::of(headers, random(), gateway.in_force.sampling()),
            route: None,
            reading: None,
            site: None,
            cookies: Vec::new(),
            navigates: false,
            claimed: Claimed::default(),
            decision: None,
            sent: None,
            failure: None,
            answer: None,
        }
    }

    /// Notes the route that the request takes.
    pub(super) fn takes(&mut self, index: usize, route: &Route, request: &RequestView<'_>) {
        self.route = Some(index);
        self.site = route.session;
        self.navigates = route.session.is_some() && browser::may_be_sent_to_login(request);
        if let CrossOrigin::Answered(_) = route.cross_origin {
            self.reading = Some((index, cors::origin(request.headers()).cloned()));
        }
    }

    /// Notes that no route of its place takes the method; a page that may read the answers of one may read that.
    pub(super) fn takes_none(&mut self, request: &RequestView<'_>) {
        let Some(origin) = cors::origin(request.headers()) else { return };
        let index = self.gateway.in_force.rules().routes.read_by(request, origin);
        self.reading = index.map(|index| (index, Some(origin.clone())));
    }

    /// The access token of the session that it is of, for the upstream.
    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        let token = &self.claimed.session.as_ref()?.session.access_token.text;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn taken(&self) -> Option<&Route> {
        self.at(self.route?)
    }

    fn at(&self, index: usize) -> Option<&Route> {
        self.gateway.in_force.rules().routes.routes().get(index)
    }

    /// Says who may read the answer, where that is ours to say.
    fn mark(&self, headers: &mut HeaderMap) {
        let Some((index, origin)) = &self.reading else { return };
        if let Some(Route { cross_origin: CrossOrigin::Answered(cors), .. }) = self.at(*index) {
            cors.mark(origin.as_ref(), headers);
        }
    }

    /// Notes that the request was let through to its upstream.
    pub(super) fn permitted(&mut self, permit: &Permit<'_>) {
        if permit.principal().is_some_and(Principal::is_by_id_token) {
            let issuer = self.claimed.issuer.map(|issuer| issuer.0);
            self.gateway.in_force.ledger().id_token_accepted(self.route, issuer);
        }
        self.decision = Some(match permit.grounds() {
            Grounds::Caller(_) => Decision::Permitted,
            Grounds::Anonymous => Decision::Anonymous,
            Grounds::Shadow(reject) => {
                self.shadowed(permit.route(), reject);
                Decision::Shadowed(reject.code())
            }
        });
        self.sent = Some((permit.route().upstream.0, None));
    }

    /// Notes that it has a place at the upstream: until here its time was ours.
    pub(super) fn entered(&mut self) {
        if let Some((_, entered)) = &mut self.sent {
            *entered = Some(Instant::now());
        }
    }

    /// Counts that the upstream meant to set the session cookie of that name, and tells the operator.
    pub(super) fn withheld(&self, cookie: &str) {
        let Gateway { shared, in_force, .. } = &*self.gateway;
        let sites = &in_force.rules().sites;
        // Several sessions may call their cookies the same: then it is that of the route, if it has one.
        let own = self.site.and_then(|id| sites.get(id.0)).filter(|site| site.cookie == cookie);
        if let Some(site) = own.or_else(|| sites.iter().find(|site| site.cookie == cookie)) {
            shared.telemetry().metrics.session_event(&site.name, SessionEvent::CookieWithheld);
        }
        let upstream = self.sent.and_then(|(upstream, _)| in_force.config().upstreams.get(upstream));
        let upstream = upstream.map(|upstream| upstream.name.as_str());
        shared.refusals().tell_withheld(cookie, upstream, self.told(self.taken()), shared.since_start());
    }

    /// By what the operator finds it again.
    fn told<'a>(&'a self, route: Option<&'a Route>) -> log::Asked<'a> {
        let (request_id, trace_id) = (self.request_id.as_str(), self.trace.id());
        log::Asked { route: route.map(|route| route.name.as_str()), request_id, trace_id }
    }

    /// Counts a refusal that is let through, and tells the operator.
    fn shadowed(&self, route: &Route, reject: &Reject) {
        let Gateway { shared, in_force, .. } = &*self.gateway;
        in_force.ledger().shadow_refused(self.route, reject.code());
        shared.refusals().tell_shadowed(reject, self.told(Some(route)), shared.since_start());
    }

    /// The answer as it goes out, watched to its end.
    pub(super) fn passed(mut self, mut response: Response<Body>) -> Response<Body> {
        let by = match self.decision {
            Some(_) => {
                self.mark(response.headers_mut());
                By::Upstream
            }
            None => By::Gateway,
        };
        self.decision.get_or_insert(Decision::Anonymous);
        self.watch(response, by)
    }

    /// The refusal as it goes out, watched to its end; the operator is told why.
    pub(super) fn refused(mut self, reject: &Reject) -> Response<Body> {
        let shared = &self.gateway.shared;
        shared.refusals().tell(reject, self.told(self.taken()), shared.since_start());
        let mut response = self.refusal(reject);
        self.mark(response.headers_mut());
        match self.decision {
            Some(_) => self.failure = Some(reject.code()),
            None => self.decision = Some(Decision::Refused(reject.code())),
        }
        self.watch(response, By::Gateway)
    }

    /// What a refusal comes to: a page or a way to the login for people, else a problem.
    fn refusal(&mut self, reject: &Reject) -> Response<Body> {
        let gateway = Arc::clone(&self.gateway);
        let site = self.site.and_then(|id| gateway.in_force.rules().sites.get(id.0));
        let Some(site) = site else { return refuse(reject, self.asked, &self.request_id) };
        if page::is_for_people(reject.code()) {
            return page::page(reject, site, &self.request_id);
        }
        if let Reject::SessionExpired { .. } = reject {
            self.cookies.extend(cookies::unset(&site.cookie, site.same_site));
        }
        if self.navigates && page::is_cured_by_login(reject.code()) {
            return page::to_login(site, &self.uri, &self.request_id);
        }
        refuse(reject, self.asked, &self.request_id)
    }

    fn watch(mut self, mut response: Response<Body>, by: By) -> Response<Body> {
        if !self.cookies.is_empty() {
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            for cookie in &self.cookies {
                headers.append(SET_COOKIE, cookie.clone());
            }
        }
        self.answer = Some(Answer { status: response.status(), by });
        response.map(|body| {
            body.watched(move |ending| {
                let mut journey = self;
                // The head has gone out: the client sees a body that is cut off.
                if let Ending::Broken(code) = ending {
                    journey.failure.get_or_insert(code);
                }
            })
        })
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        let outcome = Outcome {
            at: self.at,
            method: self.method.clone(),
            uri: self.uri.clone(),
            route: self.route,
            answer: self.answer,
            decision: self.decision,
            failure: self.failure,
            issuer: self.claimed.issuer.map(|issuer| issuer.0),
            verified: self.claimed.verified,
            client: self.client.address,
            duration: self.begun.elapsed(),
            visit: self.sent.map(|(upstream, entered)| Visit { upstream, time: entered.map(|at| at.elapsed()) }),
            request_id: self.request_id.value().clone(),
            trace_id: u128::from_str_radix(self.trace.id(), 16).ok(),
        };
        let ledger = self.gateway.in_force.ledger();
        outcome.record(ledger);
        if let (Some(recorded), Some(spans)) = (self.trace.recorded(), self.gateway.shared.spans()) {
            spans.request(&outcome, recorded, ledger);
        }
    }
}
