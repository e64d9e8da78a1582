//! The API behind the gateway: answers every request and remembers it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The API, serving as long as the test's runtime lives.
pub struct Api {
    pub url: String,
    seen: Arc<Mutex<Vec<Parts>>>,
}

impl Api {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Parts>>> = Arc::default();
        let record = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let record = Arc::clone(&record);
                let service = service_fn(move |request: Request<Incoming>| {
                    record.lock().unwrap().push(request.into_parts().0);
                    async { Ok::<_, Infallible>(Response::new("the orders".to_owned())) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, seen }
    }

    /// The heads of the requests since the last time this was asked.
    pub fn take(&self) -> Vec<Parts> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}
