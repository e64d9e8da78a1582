//! The APIs behind us: HTTP/1.1 and HTTP/2, in clear, within TLS, or on a Unix socket.
//!
//! One [`Upstreams`] belongs to one worker, and its connections to that worker's runtime. It promises:
//!
//! 1. A request that an upstream has not taken goes out again: where a kept connection closed before any of it was sent, and
//!    where HTTP/2 says that it was not processed and its body is not lost.
//! 2. A request that may have been taken goes out again only where it is safe (RFC 9110 section 9.2.1) and without a body,
//!    the connection had carried requests before and ended before any byte of an answer, `retries` allows it, and
//!    repetitions are few among the requests. Once. Nothing else is ever sent twice.
//! 3. A connection is kept only where the request and the answer both ended as their framing said; in every other case, a
//!    client that left among them, it is closed (in HTTP/2: the stream), and nobody else reads from it.
//! 4. An answer whose head can be read two ways is a fault (`upstream_malformed`), and so is an upgrade nobody asked for.
//! 5. Every wait has a limit but one: an answer without a declared length may be silent for as long as its connection lives.
//! 6. Framing is ours: of a request's own fields `Content-Length` and `Transfer-Encoding` must be gone or made by us.
//!
//! It does not judge bodies or rewrite other fields.

mod answer;
mod budget;
mod counted;
mod exchange;
mod gate;
mod head;
mod http1;
mod http2;
mod joint;
mod outgoing;
mod target;
mod transport;
mod way;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::timeout;

pub use self::answer::{Answer, AnswerBroken};
use self::budget::Budget;
use self::counted::Counted;
pub use self::gate::Gate;
use self::gate::{Full, Pass};
use self::http1::Lease;
use self::joint::Joint;
use self::outgoing::Source;
pub use self::target::{Place, Protocol, Target};
use self::transport::{Names, Spoken};
use self::way::Way;
use crate::policy::reject::Reject;
use crate::policy::route::UpstreamId;
use crate::telemetry::labels::RetryResult;
use crate::telemetry::ledger::{Ledger, UpstreamCounts};

/// The largest head of an answer, in bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// How often one request is sent at most, the times that it was not taken included.
const ATTEMPTS: usize = 3;

const NO_ANSWER: &str = "no answer within `timeout`";

/// The upstreams of one worker.
pub struct Upstreams<B> {
    upstreams: Vec<Arc<Upstream<B>>>,
}

/// One upstream of one worker.
struct Upstream<B> {
    target: Target,
    counts: Option<UpstreamCounts>,
    http1: Arc<http1::Pool<B>>,
    http2: http2::Channels<B>,
    /// What it spoke on the latest connection; TLS settles it anew on each.
    spoken: Mutex<Option<Spoken>>,
    /// The opening that several requests wait for, because they may share what it opens.
    opening: Joint<Result<(), Fault>>,
    names: Names,
    budget: Budget,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum NoAnswer {
    /// The upstream's fault, or ours.
    Upstream(Reject),
    /// The request's own body failed; whoever made that body knows why.
    RequestBody,
}

/// Why an attempt gave no answer.
enum Failed {
    /// Nothing of the request was taken: it may go elsewhere. Its head, where that came back.
    Untaken(Option<Box<Parts>>),
    /// The connection ended before any byte of an answer; whether the request was taken is not known.
    Died(String),
    /// Nothing more can be done.
    Over(Fault),
}

impl Failed {
    fn untaken<B>(request: Request<B>) -> Self {
        Self::Untaken(Some(Box::new(request.into_parts().0)))
    }
}

/// Why there is no answer, before the upstream's name is put to it.
#[derive(Debug, Clone)]
enum Fault {
    Unreachable(String),
    Malformed(String),
    Late(&'static str),
    RequestBody,
    Internal(&'static str),
}

impl<B> Upstreams<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// The upstreams in the order of the configuration, which are counted in its `ledger`. One that was the same `before`
    /// stays as it is, with its connections; before and now must belong to one worker.
    pub fn new(targets: &[Target], ledger: &Ledger, before: Option<&Self>) -> Self {
        let kept = |target: &Target| before?.upstreams.iter().find(|known| known.target == *target).cloned();
        let upstream = |(place, target): (usize, &Target)| {
            kept(target).unwrap_or_else(|| Arc::new(Upstream::new(target.clone(), ledger.upstream(place).cloned())))
        };
        Self { upstreams: targets.iter().enumerate().map(upstream).collect() }
    }

    /// A request's place at the upstream at that place of the configuration, once there is one.
    ///
    /// # Errors
    ///
    /// `overloaded`, or `internal` where there is no such upstream.
    pub async fn enter(&self, upstream: UpstreamId) -> Result<Entered<B>, Reject> {
        let upstream = self.upstreams.get(upstream.0).ok_or(Reject::Internal { why: "no such upstream" })?;
        let Target { name, gate, connect_timeout, .. } = &upstream.target;
        let full = |Full| Reject::UpstreamFull { upstream: name.clone(), bound: gate.bound() };
        let pass = gate.enter(*connect_timeout).await.map_err(full)?;
        Ok(Entered { upstream: Arc::clone(upstream), pass })
    }
}

/// A place at an upstream, for one request.
pub struct Entered<B> {
    upstream: Arc<Upstream<B>>,
    pass: Pass,
}

impl<B> Entered<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// Sends the request; must run on the worker's own runtime.
    ///
    /// The request's target is sent as it is: give it in origin form, and the host in `Host`. Dropping the future, or the
    /// answer before its end, closes the connection or resets the stream.
    ///
    /// # Errors
    ///
    /// [`NoAnswer::Upstream`] with `upstream_unreachable`, `upstream_timeout` or `upstream_malformed`, or with `internal`;
    /// [`NoAnswer::RequestBody`] where the request's body gave an error.
    pub async fn send(self, request: Request<B>) -> Result<Response<Answer<B>>, NoAnswer> {
        self.upstream.send(request, self.pass).await
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn new(target: Target, counts: Option<UpstreamCounts>) -> Self {
        Self {
            http1: Arc::new(http1::Pool::new()),
            http2: http2::Channels::new(target.gate.bound().div_ceil(http2::STREAMS)),
            target,
            counts,
            spoken: Mutex::default(),
            opening: Joint::default(),
            names: Names::default(),
            budget: Budget::new(),
        }
    }

    async fn send(self: &Arc<Self>, request: Request<B>, pass: Pass) -> Result<Response<Answer<B>>, NoAnswer> {
        self.budget.earn();
        let (head, body) = request.into_parts();
        let (method, source) = (head.method.clone(), Source::new(body));
        let mut repetition = Repetition::of(&self.target, &method, &source);
        let sent = self.attempt(head, &source, &mut repetition).await;
        if repetition == Repetition::Done {
            let result = if sent.is_ok() { RetryResult::Success } else { RetryResult::Failure };
            self.retried(result);
        }
        let (response, way) = sent.map_err(|fault| self.no_answer(fault))?;
        source.settle();
        let mut response = self.judge(response, &method, way, pass)?;
        response.body_mut().begin().await.map_err(|broken| {
            self.no_answer(match broken {
                AnswerBroken::Upstream => Fault::Unreachable(broken.to_string()),
                AnswerBroken::Malformed => Fault::Malformed(broken.to_string()),
                AnswerBroken::Late => Fault::Late(NO_ANSWER),
                AnswerBroken::RequestBody => Fault::RequestBody,
            })
        })?;
        Ok(response)
    }

    /// Sends a request, and sends it again where the module says that it may be.
    async fn attempt(
        self: &Arc<Self>,
        mut head: Parts,
        source: &Source<B>,
        repetition: &mut Repetition,
    ) -> Result<(Response<Incoming>, Way<B>), Fault> {
        for attempt in 0..ATTEMPTS {
            let mut way = self.way(attempt > 0).await?;
            let repeatable = *repetition == Repetition::Allowed && way.is_used();
            // What is sent by HTTP/2 never comes back.
            let spare = (way.is_shared() || repeatable).then(|| head.clone());
            let body = source.begin(way.exchange(), way.is_shared()).ok_or_else(lost)?;
            head = match (way.send(head, body, self.target.protocol.scheme()).await, spare) {
                (Ok(response), _) => return Ok((response, way)),
                (Err(Failed::Over(fault)), _) => return Err(fault),
                (Err(Failed::Untaken(_)), Some(spare)) if way.is_shared() => spare,
                // Whatever it was that came to hand first, a connection of its own is still to be tried.
                (Err(Failed::Untaken(Some(head))), _) if attempt == 0 => *head,
                (Err(Failed::Untaken(_)), _) => return Err(closed_at_once()),
                (Err(Failed::Died(_)), Some(spare)) if repeatable && self.may_repeat() => {
                    *repetition = Repetition::Done;
                    spare
                }
                (Err(Failed::Died(why)), _) => return Err(Fault::Unreachable(why)),
            };
        }
        Err(Fault::Unreachable("it took the request on no connection".to_owned()))
    }

    fn may_repeat(&self) -> bool {
        let within = self.budget.spend();
        if !within {
            self.retried(RetryResult::BudgetSpent);
        }
        within
    }

    fn retried(&self, result: RetryResult) {
        if let Some(counts) = &self.counts {
            counts.retried(result);
        }
    }

    /// A connection, or a place on one; `fresh`: not one that was kept for a single request at a time.
    async fn way(self: &Arc<Self>, fresh: bool) -> Result<Way<B>, Fault> {
        loop {
            if let Some(stream) = self.http2.take(self.target.timeout) {
                return Ok(Way::Http2(stream));
            }
            if !fresh && let Some(lease) = self.http1.take() {
                return Ok(Way::Http1(lease));
            }
            match self.spoken() {
                Some(Spoken::Http1) => {
                    if let Some(lease) = self.open().await? {
                        return Ok(Way::Http1(lease));
                    }
                }
                Some(Spoken::Http2) => {
                    if let Some(stream) = self.http2.take_any(self.target.timeout) {
                        return Ok(Way::Http2(stream));
                    }
                    self.shared_opening().await?;
                    if self.http2.is_empty() && self.spoken() == Some(Spoken::Http2) {
                        return Err(closed_at_once());
                    }
                }
                None => self.shared_opening().await?,
            }
        }
    }

    fn spoken(&self) -> Option<Spoken> {
        *self.spoken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a connection that others may share, or waits for the opening that is under way.
    async fn shared_opening(self: &Arc<Self>) -> Result<(), Fault> {
        let upstream = Arc::clone(self);
        let open = || async move { upstream.open().await.map(|lease| lease.map(Lease::leave).unwrap_or_default()) };
        let opened = self.opening.join(open).await;
        opened.unwrap_or(Err(Fault::Internal("the opening of a connection was given up")))
    }

    /// Opens a connection: for one request where it speaks HTTP/1.1, else for all.
    async fn open(&self) -> Result<Option<Lease<B>>, Fault> {
        let opening = async {
            let (connection, spoken) =
                transport::open(&self.target, &self.names).await.map_err(|error| told(&error))?;
            let counted = Counted::new(self.counts.clone());
            let lease = match spoken {
                Spoken::Http1 => self.http1.begin(connection, counted, self.target.timeout).await.map(Some),
                Spoken::Http2 => self.http2.begin(connection, counted).await.map(|()| None),
            };
            *self.spoken.lock().unwrap_or_else(PoisonError::into_inner) = Some(spoken);
            lease.map_err(|error| told(&error))
        };
        match timeout(self.target.connect_timeout, opening).await {
            Ok(opened) => opened.map_err(Fault::Unreachable),
            Err(_) => Err(Fault::Late("no connection within `connect_timeout`")),
        }
    }

    /// Passes on an answer whose head can be read in one way only.
    fn judge(
        &self,
        response: Response<Incoming>,
        method: &Method,
        mut way: Way<B>,
        pass: Pass,
    ) -> Result<Response<Answer<B>>, NoAnswer> {
        let status = response.status();
        if let Some(why) = head::ambiguity(status, response.headers()) {
            return Err(self.no_answer(Fault::Malformed(why.to_owned())));
        }
        let bodiless = head::is_bodiless(method, status);
        if bodiless && head::declares_body(response.headers()) {
            // Some servers send that body all the same. It would be read as the next answer's head.
            way.close_after();
        }
        let mut response = response.map(|body| Answer::new((!bodiless).then_some(body), way, pass));
        // Whatever version the upstream spoke, how the answer is framed for the client is not its business.
        *response.version_mut() = Version::HTTP_11;
        let headers = response.headers_mut();
        headers.remove(TRANSFER_ENCODING);
        if status == StatusCode::NO_CONTENT {
            headers.remove(CONTENT_LENGTH);
        }
        Ok(response)
    }

    fn no_answer(&self, fault: Fault) -> NoAnswer {
        let upstream = self.target.name.clone();
        NoAnswer::Upstream(match fault {
            Fault::Unreachable(why) => Reject::UpstreamUnreachable { upstream, why },
            Fault::Malformed(why) => Reject::UpstreamMalformed { upstream, why },
            Fault::Late(why) => Reject::UpstreamTimeout { upstream, why },
            Fault::Internal(why) => Reject::Internal { why },
            Fault::RequestBody => return NoAnswer::RequestBody,
        })
    }
}

/// Whether a request that may have been taken is sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repetition {
    /// Never.
    Forbidden,
    /// Once, where the connection died and the budget has it.
    Allowed,
    /// It was.
    Done,
}

impl Repetition {
    fn of<B: Body<Data = Bytes>>(target: &Target, method: &Method, source: &Source<B>) -> Self {
        if target.retries > 0 && method.is_safe() && source.is_empty() { Self::Allowed } else { Self::Forbidden }
    }
}

fn lost() -> Fault {
    Fault::Unreachable("it refused the request after much of its body was sent".to_owned())
}

fn closed_at_once() -> Fault {
    Fault::Unreachable("the new connection was closed at once".to_owned())
}

/// The innermost cause: the outer ones only say that something failed.
fn told(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
