//! Workers: one thread, one single-threaded runtime and one handler each.
//!
//! A connection is accepted, served and forwarded on one thread, so nothing on its way is contended. The number of open
//! connections is bounded over all workers: see [`super::room`].

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;

use super::connection::{Site, news, serve};
use super::drain::Phase;
use super::room::{Listening, Place};
use crate::gateway::{Body, Peer};
use crate::telemetry::labels::ConnectionFault;

/// How often the log says that connections cannot be accepted.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long accepting rests after the system refused a socket (file descriptors exhausted, for one): it would refuse the next
/// one as well.
const REST: Duration = Duration::from_millis(100);

/// The threads of a server.
pub(super) struct Workers(Vec<JoinHandle<()>>);

impl Workers {
    /// Starts one worker for each list of sockets, and returns when all of them accept.
    pub(super) fn start<M, H, F>(sockets: Vec<Vec<StdListener>>, site: &Site, make_handler: M) -> io::Result<Self>
    where
        M: Fn(usize) -> H + Send + Sync + 'static,
        H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let make_handler = Arc::new(make_handler);
        let mut threads = Vec::with_capacity(sockets.len());
        for (number, sockets) in sockets.into_iter().enumerate() {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let listeners = {
                let _entered = runtime.enter();
                let listen = |socket| Ok((TcpListener::from_std(socket)?, site.room.listen()));
                sockets.into_iter().map(listen).collect::<io::Result<Vec<_>>>()?
            };
            let (make_handler, site) = (Arc::clone(&make_handler), site.clone());
            let work = move || {
                runtime.block_on(async move {
                    let handler = make_handler(number);
                    for (listener, (socket, listening)) in listeners.into_iter().enumerate() {
                        let site = Arc::new(Site { listener, ..site.clone() });
                        tokio::spawn(accept(socket, listening, site, handler.clone()));
                    }
                    let mut phase = site.phase;
                    phase.reached(Phase::Stopped).await;
                });
                // The runtime ends here, and with it every connection of this worker. The look-up of a name that hangs is
                // not waited for.
                runtime.shutdown_background();
            };
            threads.push(thread::Builder::new().name(format!("worker-{number}")).spawn(work)?);
        }
        Ok(Self(threads))
    }

    /// Waits for the threads, which end when the server has stopped.
    pub(super) fn join(&mut self) {
        for thread in self.0.drain(..) {
            // A worker that panicked has said so; the others are still to be waited for.
            let _ = thread.join();
        }
    }
}

/// Accepts connections until the server closes, and is `listening` until then.
pub(super) async fn accept<H, F>(socket: TcpListener, listening: Listening, site: Arc<Site>, handler: H)
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut phase = site.phase.clone();
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = phase.reached(Phase::Closing) => break,
            accepted = socket.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                site.failed(ConnectionFault::AcceptFailed);
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    let help = "where files are too many, raise the limit of open files (ulimit -n, LimitNOFILE)";
                    tracing::warn!(%error, help, "cannot accept connections");
                }
                if !is_of_one(error.kind()) {
                    tokio::time::sleep(REST).await;
                }
                continue;
            }
        };
        let place = site.room.take();
        if place.as_ref().is_none_or(|place| place.surplus) {
            site.failed(ConnectionFault::LimitReached);
        }
        if let Some(place) = place {
            attend(stream, address, place, Arc::clone(&site), handler.clone());
        }
    }
    // What the kernel accepted before the end is still ours to answer.
    news().await;
    while let Some(Ok((stream, address))) = socket.accept().now_or_never() {
        let Some(place) = site.room.take() else { break };
        attend(stream, address, place, Arc::clone(&site), handler.clone());
    }
    // In this order: who listens no more has no socket in which others could be waiting.
    drop((socket, listening));
}

/// Whether accepting failed because of that one connection, and the next one may succeed (accept(2)): it was given up while it
/// waited, a firewall forbids it, or its network is gone.
fn is_of_one(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::PermissionDenied
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
    )
}

/// Serves a connection in a task of its own.
fn attend<H, F>(stream: TcpStream, address: SocketAddr, place: Place, site: Arc<Site>, handler: H)
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    // Answers are written whole; waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let open = site.telemetry.as_ref().and_then(|telemetry| telemetry.metrics.connection_opened(site.listener));
    let serving = serve(stream, address, place.surplus, Arc::clone(&site), handler);
    tokio::spawn(async move {
        if let Err(fault) = serving.await {
            site.failed(fault);
        }
        drop((open, place));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepting_rests_only_where_the_next_connection_would_fail_as_well() {
        // By their numbers on Linux: EMFILE, ENFILE, ENOMEM, ENOBUFS, EBADF; ECONNABORTED, EPERM, ENETDOWN, EHOSTUNREACH.
        let of_one = |number: i32| is_of_one(io::Error::from_raw_os_error(number).kind());
        assert!(![24, 23, 12, 105, 9].into_iter().any(of_one));
        assert!([103, 1, 100, 113].into_iter().all(of_one));
    }
}
