//! A small HTTP/1.1 server on a free port of the loopback address, for the demo's issuer and API.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Serves for as long as it lives.
pub(super) struct Loopback {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Loopback {
    /// A listener on a free port.
    ///
    /// # Errors
    ///
    /// The operating system gives none.
    pub(super) async fn listener() -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
    }

    /// Answers each request that comes to `listener` with what `answer` says.
    ///
    /// # Errors
    ///
    /// The listener has no address.
    pub(super) fn serve<F>(
        listener: TcpListener,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = Response<Full<Bytes>>> + Send,
    {
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            // The demo's own peers connect here: an accept that fails ends the demo, not somebody's service.
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| {
                        let answered = answer(request);
                        async { Ok::<_, Infallible>(answered.await) }
                    });
                    // A connection that breaks is its client's affair.
                    let _ = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, tasks })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops serving; open connections are cut.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
