//! An API as APIs are made: HTTP/1.1 and HTTP/2 by hyper, TLS by rustls. It records the heads of what it is asked.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of an answer.
pub type Reply = UnsyncBoxBody<Bytes, hyper::Error>;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The number of its connection, from 0.
    pub connection: usize,
    pub version: Version,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub shown: Shown,
}

/// What a client showed in the TLS handshake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// The host it named.
    pub host: Option<String>,
    pub certificate: Option<CertificateDer<'static>>,
}

/// The API. Dropped, it takes no more connections.
pub struct Api {
    address: SocketAddr,
    seen: watch::Sender<Seen>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    asked: Vec<Asked>,
    opened: usize,
}

/// How many requests one connection of HTTP/2 may have at once.
const STREAMS: u32 = 200;

impl Api {
    /// In clear, on loopback: HTTP/1.1, or HTTP/2 by prior knowledge.
    pub async fn clear<A, F>(answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Reply>> + Send + 'static,
    {
        Self::allowing(STREAMS, answer).await
    }

    /// The same with so many requests at once on a connection of HTTP/2.
    pub async fn allowing<A, F>(streams: u32, answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Reply>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = watch::Sender::new(Seen::default());
        let for_task = seen.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = opened(&for_task);
                tokio::spawn(serve(stream, number, Shown::default(), streams, for_task.clone(), answer.clone()));
            }
        });
        Self { address, seen, accepting }
    }

    /// Within TLS, on loopback.
    pub async fn tls<A, F>(config: ServerConfig, answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Reply>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = watch::Sender::new(Seen::default());
        let for_task = seen.clone();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (acceptor, seen, answer) = (acceptor.clone(), for_task.clone(), answer.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let session = stream.get_ref().1;
                    let certificate = session.peer_certificates().map(|chain| chain[0].clone().into_owned());
                    let shown = Shown { host: session.server_name().map(str::to_owned), certificate };
                    let number = opened(&seen);
                    serve(stream, number, shown, STREAMS, seen, answer).await;
                });
            }
        });
        Self { address, seen, accepting }
    }

    /// In clear, on a Unix socket.
    pub fn unix<A, F>(path: &Path, answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Reply>> + Send + 'static,
    {
        let listener = UnixListener::bind(path).unwrap();
        let seen = watch::Sender::new(Seen::default());
        let for_task = seen.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = opened(&for_task);
                tokio::spawn(serve(stream, number, Shown::default(), STREAMS, for_task.clone(), answer.clone()));
            }
        });
        Self { address: SocketAddr::from(([0, 0, 0, 0], 0)), seen, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The request of that number, from 0, once it is there.
    pub async fn asked(&self, number: usize) -> Asked {
        self.until(|seen| seen.asked.len() > number).await;
        self.seen.borrow().asked[number].clone()
    }

    /// The number of requests so far.
    pub fn count(&self) -> usize {
        self.seen.borrow().asked.len()
    }

    /// The number of connections that were opened.
    pub fn opened(&self) -> usize {
        self.seen.borrow().opened
    }

    async fn until(&self, what: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        tokio::time::timeout(PATIENCE, seen.wait_for(|seen| what(seen))).await.expect("the API saw it").unwrap();
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn opened(seen: &watch::Sender<Seen>) -> usize {
    let mut number = 0;
    seen.send_modify(|seen| {
        number = seen.opened;
        seen.opened += 1;
    });
    number
}

async fn serve<S, A, F>(stream: S, connection: usize, shown: Shown, streams: u32, seen: watch::Sender<Seen>, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Reply>> + Send + 'static,
{
    let recorder = seen.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (version, uri, headers) = (request.version(), request.uri().clone(), request.headers().clone());
        let shown = shown.clone();
        recorder.send_modify(|seen| seen.asked.push(Asked { connection, version, uri, headers, shown }));
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(streams);
    // A fault of the connection is seen by who is at its other end.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// A body of these bytes.
pub fn body(bytes: impl Into<Bytes>) -> Reply {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Reads the request to its end, and answers `ok`.
pub async fn ok(request: Request<Incoming>) -> Response<Reply> {
    let _ = request.into_body().collect().await;
    Response::new(body("ok"))
}

/// Sends back the request's body as it comes, as a gRPC method would that returns what it is sent: the status comes last.
pub async fn echo(request: Request<Incoming>) -> Response<Reply> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("grpc-message", HeaderValue::from_static("fine"));
    let echoed = request.into_body().with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(echoed.boxed_unsync());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
