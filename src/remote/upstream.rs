//! The APIs behind us: HTTP/1.1 over kept connections.
//!
//! One [`Upstreams`] belongs to one worker, and its connections to that worker's runtime. It promises:
//!
//! - A request goes out once. The one exception is a kept connection that closed before it took any of the request:
//!   the request then goes out on a fresh one.
//! - A connection is kept only where the request and the answer both ended as their framing said; in every other case,
//!   a client that left among them, it is closed, and nobody else reads from it.
//! - An answer whose head can be read two ways is a fault (`upstream_malformed`), and so is an upgrade nobody asked for.
//! - Framing is ours: of a request's own fields `Content-Length` and `Transfer-Encoding` must be gone or made by us.
//!
//! It does not judge bodies, rewrite other fields, or try an upstream twice.

mod answer;
mod link;
mod pool;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub use self::answer::{Answer, AnswerBroken};
use self::link::{Link, Tracked, Wire};
use self::pool::{Broken, Lease, Pool};
use crate::policy::reject::Reject;
use crate::policy::route::UpstreamId;
use crate::telemetry::ledger::Ledger;

/// Where one upstream is, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its configured name.
    pub name: String,
    /// `host:port`; a host that is a name is resolved at each new connection.
    pub authority: String,
    /// From the end of the request to the head of the answer.
    pub timeout: Duration,
    /// To the connection, the resolution of the name included.
    pub connect_timeout: Duration,
}

/// How long an unused connection is kept: less than the 5 s after which common servers close theirs.
pub const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// How many unused connections are kept for each upstream of a worker.
const KEPT_AT_MOST: usize = 256;

/// The largest head of an answer, in bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// The upstreams of one worker.
pub struct Upstreams<B> {
    upstreams: Vec<Upstream<B>>,
}

struct Upstream<B> {
    target: Target,
    pool: Arc<Pool<B>>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum NoAnswer {
    /// The upstream's fault.
    Upstream(Reject),
    /// The request's own body failed; whoever made that body knows why.
    RequestBody,
}

impl<B> Upstreams<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// The upstreams in the order of the configuration, whose connections are counted in its `ledger`. One that was the
    /// same `before` keeps its connections; before and now must belong to one worker.
    pub fn new(targets: impl IntoIterator<Item = Target>, ledger: &Ledger, before: Option<&Self>) -> Self {
        let kept = |target: &Target| {
            let mut known = before?.upstreams.iter();
            known.find(|known| known.target == *target).map(|known| Arc::clone(&known.pool))
        };
        let upstream = |(place, target): (usize, Target)| {
            let fresh = || Arc::new(Pool::new(KEPT_AT_MOST, ledger.connections(place).cloned()));
            Upstream { pool: kept(&target).unwrap_or_else(fresh), target }
        };
        Self { upstreams: targets.into_iter().enumerate().map(upstream).collect() }
    }

    /// Sends a request to the upstream at that place of the configuration; must run on the worker's own runtime.
    ///
    /// The request's target is sent as it is: give it in origin form. Dropping the future, or the answer before its
    /// end, closes the connection.
    ///
    /// # Errors
    ///
    /// [`NoAnswer::Upstream`] with `upstream_unreachable`, `upstream_timeout` or `upstream_malformed`, or with `internal`
    /// where there is no such upstream; [`NoAnswer::RequestBody`] where the request's body gave an error.
    pub async fn send(&self, upstream: UpstreamId, request: Request<B>) -> Result<Response<Answer<B>>, NoAnswer> {
        let upstream =
            self.upstreams.get(upstream.0).ok_or(NoAnswer::Upstream(Reject::Internal { why: "no such upstream" }))?;
        upstream.send(request).await
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn send(&self, request: Request<B>) -> Result<Response<Answer<B>>, NoAnswer> {
        let mut request = request.map(Tracked::new);
        *request.version_mut() = Version::HTTP_11;
        if let Some(mut lease) = self.pool.take() {
            match lease.send(request).await {
                Ok(response) => return self.judge(response, lease),
                Err(Broken::Untaken(untaken)) => request = *untaken,
                Err(Broken::Taken(error)) => return Err(self.fault(&error, &lease)),
            }
        }
        let mut lease = self.connect().await?;
        match lease.send(request).await {
            Ok(response) => self.judge(response, lease),
            Err(Broken::Untaken(_)) => Err(self.unreachable("the new connection was closed at once")),
            Err(Broken::Taken(error)) => Err(self.fault(&error, &lease)),
        }
    }

    /// Opens a connection and leaves a task with it that lives as long as it does.
    async fn connect(&self) -> Result<Lease<B>, NoAnswer> {
        let opening = async {
            let stream = TcpStream::connect(self.target.authority.as_str()).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = match tokio::time::timeout(self.target.connect_timeout, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(error)),
            Err(_) => return Err(self.late("no connection within `connect_timeout`")),
        };
        let link = Arc::new(Link::new());
        let wire = TokioIo::new(Wire::new(stream, Arc::clone(&link)));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES).max_header_size(HEAD_BYTES);
        let (sender, connection) = builder.handshake(wire).await.map_err(|error| self.unreachable(error))?;
        let task = tokio::spawn(link::drive(connection, Arc::clone(&link), self.target.timeout, IDLE_LIMIT));
        Ok(Lease::new(sender, link, task.abort_handle(), Arc::clone(&self.pool)))
    }

    /// Passes on an answer whose head can be read in one way only.
    fn judge(
        &self,
        response: Response<hyper::body::Incoming>,
        lease: Lease<B>,
    ) -> Result<Response<Answer<B>>, NoAnswer> {
        if let Some(why) = ambiguity(response.status(), response.headers()) {
            return Err(self.malformed(why));
        }
        let mut response = response.map(|body| Answer::new(body, lease));
        // Whatever version the upstream spoke, how the answer is framed for the client is not its business.
        *response.version_mut() = Version::HTTP_11;
        let status = response.status();
        let headers = response.headers_mut();
        headers.remove(TRANSFER_ENCODING);
        if status == StatusCode::NO_CONTENT {
            headers.remove(CONTENT_LENGTH);
        }
        Ok(response)
    }

    fn fault(&self, error: &hyper::Error, lease: &Lease<B>) -> NoAnswer {
        if lease.timed_out() {
            return self.late("no answer within `timeout`");
        }
        if error.is_user() && !lease.request_is_sent() {
            return NoAnswer::RequestBody;
        }
        if error.is_parse() || lease.has_received() {
            return self.malformed(error);
        }
        self.unreachable(error)
    }

    fn unreachable(&self, why: impl fmt::Display) -> NoAnswer {
        NoAnswer::Upstream(Reject::UpstreamUnreachable { upstream: self.target.name.clone(), why: why.to_string() })
    }

    fn malformed(&self, why: impl fmt::Display) -> NoAnswer {
        NoAnswer::Upstream(Reject::UpstreamMalformed { upstream: self.target.name.clone(), why: why.to_string() })
    }

    fn late(&self, why: &'static str) -> NoAnswer {
        NoAnswer::Upstream(Reject::UpstreamTimeout { upstream: self.target.name.clone(), why })
    }
}

/// Why an answer's head cannot be passed on, beside what the parser refuses.
///
/// hyper takes a length beside `chunked`, two equal lengths, and codings that it then reads to the connection's end; a
/// client, or a cache between, may frame each of these otherwise (RFC 9112 section 6.3).
fn ambiguity(status: StatusCode, headers: &HeaderMap) -> Option<&'static str> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Some("it switched protocols, which nobody asked for");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if codings.next().is_some() || coding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Some("its Transfer-Encoding is not `chunked` alone");
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if coding.is_some() && length.is_some() {
        return Some("it has both Content-Length and Transfer-Encoding");
    }
    if lengths.next().is_some() || length.is_some_and(|value| !is_length(value.as_bytes())) {
        return Some("its Content-Length is not one number");
    }
    None
}

/// Up to 18 digits: what fits every reader's integer.
fn is_length(value: &[u8]) -> bool {
    !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit)
}
