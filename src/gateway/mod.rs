//! The straight line of a request.
//!
//! ```text
//! admit                       overload is told before anything is done for a request
//! head, route                 policy, pure; a session's own paths come before routes, and are answered by `login`
//! preflight                   policy, pure: where the route takes preflights, they are not judged
//! authenticate                the credential, and the one step of the decision that may wait: for a key
//! permit                      policy, pure; also what a refusal by a policy in shadow mode comes to
//! forward                     takes the permit: there is no other way to an upstream
//! respond                     the one place where a refusal becomes an answer
//! ```
//!
//! One record of each request is written when its answer's body has ended, or when its client has left. What a request is decided on is one snapshot of
//! the configuration, and one moment.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use self::forward::{announced, forward};
use self::journey::Journey;
use self::load::Load;
use self::request_body::RequestBody;
use crate::policy::claims::NumericDate;
use crate::policy::cookies;
use crate::policy::headers::Onward;
use crate::policy::permit::{Permit, Preflighted};
use crate::policy::reject::{Code, Reject};
use crate::policy::request::RequestView;
use crate::policy::trace::X_REQUEST_ID;
use crate::remote::upstream::Upstreams;

mod authenticate;
pub mod body;
pub mod forward;
mod in_force;
mod journey;
mod load;
mod login;
mod page;
mod random;
mod refresh;
mod relying_party;
pub mod request_body;
pub mod respond;
mod sessions;
mod shared;
mod stored;
mod verified;
mod workers;

pub use self::authenticate::{Claimed, authenticate};
pub use self::body::Body;
pub use self::in_force::{InForce, IssuerReadiness, introspection_source, key_source, log_format, log_level};
pub use self::load::Pause;
pub use self::login::{Page, session_cookie};
pub use self::page::{is_cured_by_login, login_address};
pub use self::random::random;
pub use self::refresh::Renewals;
pub use self::relying_party::{by_grant, login_sources};
pub use self::sessions::{Live, Plan, Sessions};
pub use self::shared::{PROVEN_BYTES, Shared, SharedFault};
pub use self::stored::{Stored, Unopened, stored};
pub use self::workers::Gateways;

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The listener's place in the configuration.
    pub listener: usize,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Whether the connection is beyond those that are served: whatever it asks is refused.
    pub surplus: bool,
}

/// The gateway of one worker under one configuration: what all workers share, and upstream connections of its own.
pub struct Gateway {
    shared: Arc<Shared>,
    in_force: Arc<InForce>,
    upstreams: Upstreams<RequestBody>,
    load: Load,
}

/// Requests under way at once while memory is short.
const REQUESTS_IN_NEED: i64 = 16;

impl Gateway {
    /// A worker's gateway of this configuration, after the one it had `before`.
    fn new(shared: &Arc<Shared>, in_force: &Arc<InForce>, before: Option<&Self>) -> Self {
        let upstreams = Upstreams::new(in_force.targets(), in_force.ledger(), before.map(|before| &before.upstreams));
        let load = before.map(|before| before.load.clone()).unwrap_or_default();
        Self { shared: Arc::clone(shared), in_force: Arc::clone(in_force), upstreams, load }
    }

    /// Answers a request, whatever it is; must run on the runtime of the gateway's worker.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let mut journey = Journey::begin(&self, &request, peer);
        // Caught here, where its record can still be written; nothing of the request is used after a panic.
        let passed = AssertUnwindSafe(self.pass(request, peer, &mut journey)).catch_unwind().await;
        let passed = passed.unwrap_or_else(|_| {
            self.shared.telemetry().metrics.panicked();
            Err(Reject::Internal { why: "the gateway panicked" })
        });
        match passed {
            Ok(response) => journey.passed(response),
            Err(reject) => {
                let mut response = journey.refused(&reject);
                if reject.code() == Code::Overloaded
                    && let Some(pause) = self.load.pause(Instant::now())
                {
                    response.extensions_mut().insert(pause);
                }
                response
            }
        }
    }

    /// Whether there is room for a request, before anything is done for it.
    fn admit(&self, peer: Peer, journey: &Journey) -> Result<(), Reject> {
        if peer.surplus {
            return Err(Reject::Overloaded { what: "as many connections are open as `connections` allows" });
        }
        // This request counts, too.
        let in_need = self.shared.is_memory_short();
        if in_need && self.shared.telemetry().metrics.requests_in_flight() > REQUESTS_IN_NEED {
            return Err(Reject::Overloaded { what: "the memory that the process may have is nearly used up" });
        }
        self.load.admits_request(journey.begun)
    }

    /// The way of a request, from its head to the answer's.
    async fn pass(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        journey: &mut Journey,
    ) -> Result<Response<Body>, Reject> {
        self.admit(peer, journey)?;
        let rules = self.in_force.rules();
        let view = RequestView::new(request.method(), request.uri(), request.version(), request.headers(), rules.head)?;
        if view.asks_about_server() {
            return Ok(no_content(HeaderMap::new(), journey));
        }
        if let Some((id, beneath)) = rules.site(&view) {
            journey.site = Some(id);
            let page = Page::at(beneath, view.method())?;
            let mut response = login::answer(self, (id, page), request, &mut journey.cookies).await?;
            response.headers_mut().insert(&X_REQUEST_ID, journey.request_id.value().clone());
            return Ok(response);
        }
        let (index, route) = rules.routes.find(&view).inspect_err(|_| journey.takes_none(&view))?;
        journey.takes(index, route, &view);
        let permit = match route.preflight(&view) {
            Some(Preflighted::Answered(headers)) => return Ok(no_content(headers, journey)),
            Some(Preflighted::Forwarded(permit)) => permit,
            None => {
                let (now, recorded) = (NumericDate::from(self.shared.clock().wall()), journey.trace.recorded());
                let presented = authenticate(self, route, &view, recorded, now, &mut journey.claimed).await;
                route.permit(presented)?
            }
        };

        let bearer = journey.bearer();
        let authority = view.authority().to_owned();
        let identity = identity(&permit)?;
        let onward = Onward {
            authority: &authority,
            upstream_host: route.upstream_host.as_ref(),
            identity_names: self.in_force.identity_names(),
            identity: &identity,
            keep_authorization: route.keep_authorization,
            bearer: bearer.as_ref(),
            own_cookies: self.in_force.own_cookies(),
            hop: journey.hop,
            client: journey.client,
            request_id: &journey.request_id.clone(),
            trace: &journey.trace.clone(),
        };
        announced(route, request.body())?;
        journey.permitted(&permit);
        let entered = self.upstreams.enter(route.upstream).await?;
        journey.entered();
        let mut response = forward(&permit, entered, request, self.shared.pace(), &onward).await?;
        if let Some(cookie) = cookies::withhold(response.headers_mut(), self.in_force.own_cookies()) {
            journey.withheld(cookie);
        }
        Ok(response)
    }

    /// Does what makes outgoing calls where those are made, whoever waits for it.
    async fn on_control<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Reject> {
        let done = self.shared.fetching().handle.spawn(work).await;
        done.map_err(|_| Reject::Internal { why: "an outgoing call was broken off" })
    }
}

/// What the upstream is told of the caller. That each claim can be told was judged with the other claims.
fn identity(permit: &Permit<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, Reject> {
    let Some(principal) = permit.principal() else { return Ok(Vec::new()) };
    let mut identity = Vec::new();
    for header in permit.route().identity_headers.iter() {
        let value = header
            .value(principal.claims())
            .map_err(|problem| Reject::ClaimsMalformed { claim: header.claim.to_string(), problem })?;
        identity.extend(value.map(|value| (header.name.clone(), value)));
    }
    Ok(identity)
}

/// The answer to a preflight, and to `OPTIONS *`: the server is there (RFC 9110 section 9.3.7).
fn no_content(headers: HeaderMap, journey: &Journey) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers;
    response.headers_mut().insert(&X_REQUEST_ID, journey.request_id.value().clone());
    response
}
