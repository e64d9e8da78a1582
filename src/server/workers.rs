//! Workers: one thread, one single-threaded runtime and one handler each.
//!
//! A connection is accepted, served and forwarded on one thread, so nothing on its way is contended. The number of open
//! connections is bounded over all workers: at the bound nobody accepts, and the kernel keeps the callers waiting.

use std::future::Future;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::Semaphore;

use super::connection::{Bounds, serve};
use super::drain::{Phase, PhaseWatch, Phases};
use crate::gateway::{Body, Peer};

/// How long accepting rests after the system refused a socket (file descriptors exhausted, for one).
const REST: Duration = Duration::from_millis(100);

/// The threads of a server.
pub(super) struct Workers(Vec<JoinHandle<()>>);

impl Workers {
    /// Starts one worker for each list of sockets, and returns when all of them accept.
    pub(super) fn start<M, H, F>(
        sockets: Vec<Vec<StdListener>>,
        phases: &Phases,
        permits: &Arc<Semaphore>,
        bounds: Bounds,
        make_handler: M,
    ) -> io::Result<Self>
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
                sockets.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?
            };
            let (make_handler, permits, phase) = (Arc::clone(&make_handler), Arc::clone(permits), phases.watch());
            let work = move || {
                runtime.block_on(async move {
                    let handler = make_handler(number);
                    for (listener, socket) in listeners.into_iter().enumerate() {
                        let accepting =
                            accept(socket, listener, Arc::clone(&permits), phase.clone(), bounds, handler.clone());
                        tokio::spawn(accepting);
                    }
                    let mut phase = phase;
                    phase.reached(Phase::Stopped).await;
                });
                // The runtime ends here, and with it every connection of this worker.
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

/// Accepts connections until the server closes.
pub(super) async fn accept<H, F>(
    socket: TcpListener,
    listener: usize,
    permits: Arc<Semaphore>,
    mut phase: PhaseWatch,
    bounds: Bounds,
    handler: H,
) where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    loop {
        let next = async {
            // The permit comes first, so that what is accepted is also served.
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            (permit, socket.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = phase.reached(Phase::Closing) => return,
            next = next => next,
        };
        let Some(permit) = permit else { return };
        let (stream, address): (TcpStream, _) = match accepted {
            Ok(accepted) => accepted,
            Err(_) => {
                drop(permit);
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        // Answers are written whole; waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        let peer = Peer { address, listener, tls: false };
        let serving = serve(stream, peer, handler.clone(), bounds, phase.clone());
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        });
    }
}
