//! One connection of a client, from its first byte to its last.
//!
//! 1. HTTP/2 is told from HTTP/1 by the TLS handshake (ALPN), else by the connection's first bytes (prior knowledge,
//!    RFC 9113 section 3.3).
//! 2. Its deadlines are exact: a head of HTTP/1 is complete within `header_timeout` of its first byte, a request begins within
//!    `idle_timeout` of the last one's end, and a client that takes its answer more slowly than `answers` is given up. A head of
//!    HTTP/2 is bounded in size, and a connection has one at a time: beside other requests it may take as long as they do.
//! 3. What costs memory is there only while it is needed: a connection that has not begun to speak, or on which HTTP/1 is
//!    quiet, is a socket and a timer.
//! 4. When the server closes, a request that has been sent is answered. Nobody is cut off who could not know: an HTTP/1
//!    connection ends with an answer that says so, or once it has been idle for a moment and nothing more has arrived on
//!    it; on HTTP/2 GOAWAY is sent, and its client has a moment to hear it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::answering::Answering;
use super::beat::{Beat, Late, Turn};
use super::deadlines::{Deadlines, Stopped};
use super::drain::{Phase, PhaseWatch};
use super::entrance::Guest;
use super::room::Room;
use super::wire::{Protocol, Wire};
use super::{http1, http2};
use crate::gateway::request_body::Pace;
use crate::gateway::{Body, Peer};
use crate::telemetry::Telemetry;
use crate::telemetry::labels::ConnectionFault;

/// The limits of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The largest head that the gateway takes, in bytes.
    pub head_bytes: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// From the end of a request, or the connection's opening, to the first byte of the next.
    pub idle_timeout: Duration,
    /// How slowly a client may take what waits for it.
    pub answers: Pace,
    /// How long it may be idle once the server closes: what its client sent before it could hear of that arrives within.
    pub moment: Duration,
}

impl Bounds {
    /// The `moment` of every server but a test's.
    pub const MOMENT: Duration = Duration::from_secs(1);
}

/// What the connections of one listener have in common.
#[derive(Clone)]
pub(super) struct Site {
    /// The listener's place in the configuration.
    pub(super) listener: usize,
    pub(super) phase: PhaseWatch,
    /// How many connections may be open, and what the next one is held to.
    pub(super) room: Room,
    /// Where connections are counted; the admin listener's are not.
    pub(super) telemetry: Option<Arc<Telemetry>>,
}

impl Site {
    /// Counts what went wrong with a connection.
    pub(super) fn failed(&self, fault: ConnectionFault) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.metrics.connection_failed(self.listener, fault);
        }
    }
}

/// What one connection's end depends on.
pub(super) struct Life {
    pub(super) bounds: Bounds,
    pub(super) surplus: bool,
    pub(super) beat: Beat,
    pub(super) deadlines: Deadlines,
    pub(super) phase: PhaseWatch,
}

/// How long a connection beyond the limit has for its head, and to end.
pub(super) const TURNED_AWAY: Duration = Duration::from_secs(1);

/// Serves one connection to its end, and says what went wrong where something did. One that is `surplus` is told that there
/// is no room for it.
pub(super) async fn serve<H, F>(
    socket: TcpStream,
    address: SocketAddr,
    surplus: bool,
    site: Arc<Site>,
    handler: H,
) -> Result<(), ConnectionFault>
where
    H: Fn(Request<Incoming>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (terms, mut phase) = (site.room.terms(), site.phase.clone());
    let mut bounds = terms.bounds;
    if surplus {
        bounds.header_timeout = bounds.header_timeout.min(TURNED_AWAY);
        bounds.idle_timeout = bounds.idle_timeout.min(TURNED_AWAY);
    }
    // The kernel lets us write again when half of this has gone: so much must a client take in time.
    let waiting = bounds.answers.bytes.saturating_mul(2);
    let _ = SockRef::from(&socket).set_tcp_notsent_lowat(u32::try_from(waiting).unwrap_or(u32::MAX));
    // Boxed, as everything here that is not there for the connection's whole life.
    let passed = Box::pin(terms.entrance.pass(socket, address, bounds, &mut phase)).await?;
    let Some(Guest { stream, address }) = passed else { return Ok(()) };
    drop(terms);
    let peer = Peer { address, listener: site.listener, tls: stream.is_tls(), surplus };
    let beat = Beat::new();
    let mut wire = Wire::new(stream, beat.clone());
    let deadlines = Deadlines::new(beat.clone(), bounds, Arc::clone(&site));
    let answering = Answering::new(handler, peer, beat.clone(), site);
    let mut life = Life { bounds, surplus, beat, deadlines, phase };
    while let Some(protocol) = spoken(&mut wire, &mut life).await? {
        match protocol {
            Protocol::Http1 => match Box::pin(http1::serve(wire, answering.clone(), &mut life)).await? {
                Some(quiet) => wire = quiet,
                None => return Ok(()),
            },
            Protocol::Http2 => return Box::pin(http2::serve(wire, answering, &mut life)).await,
        }
    }
    // Its client has left, or has been silent too long: how well it hears of the end is its own affair.
    let _ = life.deadlines.within(pin!(poll_fn(|cx| wire.poll_end(cx))), false).await;
    Ok(())
}

/// Waits until a request begins, and says in which protocol; none where none will.
async fn spoken(wire: &mut Wire, life: &mut Life) -> Result<Option<Protocol>, ConnectionFault> {
    let Life { bounds, beat, deadlines, phase, .. } = life;
    let mut protocol = pin!(poll_fn(|cx| wire.poll_protocol(cx)));
    let known = tokio::select! {
        biased;
        known = deadlines.within(protocol.as_mut(), false) => known,
        () = phase.reached(Phase::Closing) => {
            deadlines.idle_at_most(bounds.moment);
            until_idle(protocol.as_mut(), deadlines, beat).await
        }
    };
    match known {
        Ok(Ok(protocol)) => Ok(protocol),
        Ok(Err(_)) => Err(ConnectionFault::Socket),
        Err(Stopped::Quiet) => Ok(None),
        Err(Stopped::Late(late)) => late_fault(late).map_or(Ok(None), Err),
    }
}

/// Awaits `future` unless a limit is passed before; that of an idle connection, only after a last look whether something has
/// arrived on it.
pub(super) async fn until_idle<T: Future>(
    mut future: Pin<&mut T>,
    deadlines: &mut Deadlines,
    beat: &Beat,
) -> Result<T::Output, Stopped> {
    loop {
        match deadlines.within(future.as_mut(), false).await {
            Err(Stopped::Late(Late::Idle)) => {}
            ended => return ended,
        }
        news().await;
        let looked = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        match (looked, beat.turn()) {
            (Poll::Ready(output), _) => return Ok(output),
            (Poll::Pending, Turn::Idle(_)) => return Err(Stopped::Late(Late::Idle)),
            (Poll::Pending, Turn::Head(_) | Turn::Busy | Turn::Lingering(_) | Turn::Over) => {}
        }
    }
}

/// Returns when the runtime has asked the system for news of every socket since the call. A timer does: it fires only after
/// that, while a mere yield may end by another wake of the same task.
pub(super) async fn news() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// What went wrong, where something did.
pub(super) fn fault(
    ended: Result<hyper::Result<()>, Stopped>,
    beat: &Beat,
    protocol: Protocol,
) -> Option<ConnectionFault> {
    let error = match ended {
        Ok(Ok(())) | Err(Stopped::Quiet) => return None,
        Err(Stopped::Late(late)) => return late_fault(late),
        Ok(Err(error)) => error,
    };
    // An answer that broke off at the upstream: the client sees a truncated message, by no fault of its own.
    if error.is_user() {
        return None;
    }
    Some(if beat.socket_failed() {
        ConnectionFault::Socket
    } else if error.is_parse_too_large() {
        ConnectionFault::HeadTooLarge
    } else if error.is_parse() {
        ConnectionFault::HeadMalformed
    } else if protocol == Protocol::Http1 || error.is_incomplete_message() {
        ConnectionFault::ClientClosed
    } else {
        ConnectionFault::Protocol
    })
}

/// An idle connection ends silently, and one that lingers has ended.
fn late_fault(late: Late) -> Option<ConnectionFault> {
    match late {
        Late::Idle | Late::Linger => None,
        Late::Head => Some(ConnectionFault::HeadTimeout),
        Late::Answer => Some(ConnectionFault::AnswerTimeout),
    }
}
