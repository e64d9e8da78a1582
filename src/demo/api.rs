//! The sample API behind the gateway: it tells what reached it, and remembers it for the check. It serves the demo's page
//! too.
//!
//! It never repeats a credential: of `Authorization` it tells only whether it was there.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use super::loopback::{self, Loopback};
use super::page;

/// The API, on the loopback address.
pub struct Api {
    server: Loopback,
    seen: Arc<Mutex<VecDeque<Seen>>>,
}

/// A request that reached the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// The identity headers that the API knows, with their values.
    pub identity: BTreeMap<String, String>,
}

/// The identity headers of the demo's configuration.
pub const IDENTITY_HEADERS: [&str; 2] = ["x-user", "x-scope"];

/// How many requests are remembered.
const REMEMBERED: usize = 64;

impl Api {
    /// Starts it on a free port.
    ///
    /// # Errors
    ///
    /// There is none.
    pub async fn start() -> io::Result<Self> {
        let seen = Arc::new(Mutex::new(VecDeque::new()));
        let memory = Arc::clone(&seen);
        let server = Loopback::serve(Loopback::listener().await?, move |request| {
            let memory = Arc::clone(&memory);
            async move {
                if let Some(page) = page::at(request.uri().path()) {
                    return page;
                }
                let has_credential = request.headers().contains_key(header::AUTHORIZATION);
                let request = read(&request);
                let answer = loopback::json(
                    StatusCode::OK,
                    &json!({
                        "api": "the sample API says hello",
                        "method": request.method,
                        "path": request.path,
                        "identity": request.identity,
                        "authorization": if has_credential { "present, not repeated" } else { "absent" },
                    }),
                );
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                if memory.len() == REMEMBERED {
                    memory.pop_front();
                }
                memory.push_back(request);
                answer
            }
        })?;
        Ok(Self { server, seen })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What reached it since it was last asked.
    pub fn take_seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Stops serving.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

fn read(request: &Request<Incoming>) -> Seen {
    let value = |name: &str| {
        // Two values of one identity header would be a defect of the gateway: both are told.
        let values: Vec<_> =
            request.headers().get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        (!values.is_empty()).then(|| (name.to_owned(), values.join(" | ")))
    };
    Seen {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        identity: IDENTITY_HEADERS.into_iter().filter_map(value).collect(),
    }
}
