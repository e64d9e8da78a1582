//! The admin listener: metrics and probes, never on an address for clients.
//!
//! `GET /metrics` is Prometheus' text, `/livez` says that the process answers, `/readyz` says by component whether it
//! should be sent requests. These answer any `Host`: a scraper or a kubelet asks by address. Everything else is 404.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::connection::{Bounds, Site};
use super::drain::{Phase, PhaseWatch, Phases};
use super::entrance::Entrance;
use super::room::{Room, Terms};
use super::workers::accept;
use crate::gateway::{Body, Peer};

/// Connections to the admin listener at once.
const CONNECTIONS: usize = 128;

/// A part of the gateway that must be ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// What it is, as the configuration names it.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Why it is not; empty where it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What is held of an issuer's keys; nothing where none were seen, and for what is no issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
}

/// What is held of an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Keys {
    /// `issuer`, `file` or `snapshot`.
    pub from: &'static str,
    /// The time since they were fetched from there.
    pub age_seconds: u64,
    /// How many can be used; 0 once they are older than `max_stale`.
    pub usable: usize,
}

impl Component {
    /// A part that has no keys; `why` it is not ready, where it is not.
    pub fn new(name: impl Into<String>, why: Option<&str>) -> Self {
        Self { name: name.into(), ready: why.is_none(), why: why.unwrap_or_default().to_owned(), keys: None }
    }
}

/// Where the admin listener gets what it tells.
#[derive(Clone)]
pub struct Admin {
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    components: Arc<dyn Fn() -> Vec<Component> + Send + Sync>,
    /// Whose turn it is to have the metrics written.
    turn: Arc<Mutex<()>>,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    components: Vec<Component>,
}

impl Admin {
    /// `metrics` gives the text of `/metrics`, `components` what `/readyz` tells beside the server's own state.
    pub fn new(
        metrics: impl Fn() -> String + Send + Sync + 'static,
        components: impl Fn() -> Vec<Component> + Send + Sync + 'static,
    ) -> Self {
        Self { metrics: Arc::new(metrics), components: Arc::new(components), turn: Arc::default() }
    }

    /// Answers until it is aborted: probes are asked until the very end.
    pub(super) async fn serve(self, listener: TcpListener, phase: PhaseWatch, room: Room) {
        let own_life = Phases::new();
        let handler = move |request: Request<Incoming>, _: Peer| {
            let (admin, now) = (self.clone(), phase.now());
            async move { admin.answer(request.method(), request.uri().path(), now).await }
        };
        let listening = room.listen();
        let site = Site { listener: 0, phase: own_life.watch(), room, telemetry: None };
        accept(listener, listening, Arc::new(site), handler).await;
    }

    /// What the admin listener's connections are held to: the same bounds as clients', and a number of its own.
    pub(super) fn terms(bounds: Bounds) -> Terms {
        Terms { connections: CONNECTIONS, bounds, entrance: Entrance::default() }
    }

    async fn answer(&self, method: &Method, path: &str, phase: Phase) -> Response<Body> {
        let known = ["/metrics", "/livez", "/readyz"].contains(&path);
        if known && ![Method::GET, Method::HEAD].contains(method) {
            let mut response =
                text(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "use GET\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics().await,
            "/livez" => text(StatusCode::OK, "application/json", "{\"live\":true}\n".to_owned()),
            "/readyz" => self.readiness(phase),
            _ => text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "see /metrics, /livez, /readyz\n".to_owned()),
        }
    }

    /// The metrics. Thousands of series take some time to write: that is done where nothing waits for it, neither a probe nor
    /// a fetch of keys, and for one scraper at a time.
    async fn metrics(&self) -> Response<Body> {
        let (turn, metrics) = (Arc::clone(&self.turn).lock_owned().await, Arc::clone(&self.metrics));
        let written = tokio::task::spawn_blocking(move || {
            // Whoever leaves meanwhile gives nobody else the turn.
            let _turn = turn;
            metrics()
        });
        match written.await {
            Ok(written) => text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", written),
            Err(_) => {
                let sorry = "the metrics cannot be written\n".to_owned();
                text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", sorry)
            }
        }
    }

    fn readiness(&self, phase: Phase) -> Response<Body> {
        let mut components = vec![match phase {
            Phase::Serving => Component::new("server", None),
            Phase::Draining | Phase::Closing | Phase::Stopped => Component::new("server", Some("draining")),
        }];
        components.extend((self.components)());
        let ready = components.iter().all(|component| component.ready);
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        // Strings and booleans always serialize; the fallback only keeps this function total.
        let mut json = serde_json::to_string(&Readiness { ready, components }).unwrap_or_default();
        json.push('\n');
        text(status, "application/json", json)
    }
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::own(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}
