//! gRPC from end to end: HTTP/2 on both sides, bodies that flow in both directions at once, trailers that come last.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::gateway;
use crate::harness::api::{self, Api};
use crate::harness::framed::{Came, Framed, INTERNAL_ERROR, head, reset};
use crate::harness::gateway::LIMIT;

/// A body that is sent piece by piece.
type Pieces = StreamBody<futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A call: what is sent into it is its request's body, and dropping that ends it.
async fn call(address: SocketAddr) -> (mpsc::Sender<Bytes>, Response<Incoming>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Pieces>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (pieces, mut receiver) = mpsc::channel::<Bytes>(1);
    let stream = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    });
    let request = Request::post("http://api.test/shop.Orders/Watch")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(StreamBody::new(Box::pin(stream) as futures_util::stream::BoxStream<'static, _>))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    (pieces, response)
}

async fn piece(response: &mut Response<Incoming>) -> Bytes {
    response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn messages_flow_in_both_directions_and_the_status_comes_last() {
    let api = Api::clear(api::echo).await;
    let gateway = gateway(&format!("h2c://{}", api.address()), "");
    let (pieces, mut response) = call(gateway.address()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/grpc".parse().unwrap())
    );
    for message in ["one", "two"] {
        pieces.send(Bytes::from_static(message.as_bytes())).await.unwrap();
        assert_eq!(piece(&mut response).await, message, "before the request has ended");
    }
    drop(pieces);
    let trailers = response.body_mut().frame().await.unwrap().unwrap().into_trailers().unwrap();
    let expected: HeaderMap = [("grpc-status", "0"), ("grpc-message", "fine")]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .into_iter()
        .collect();
    assert_eq!(trailers, expected);
    assert_eq!(api.asked(0).await.headers["te"], "trailers");
    assert!(response.body_mut().frame().await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_silent_is_not_cut() {
    let api = Api::clear(api::echo).await;
    let gateway = gateway(&format!("h2c://{}", api.address()), &format!("timeout = \"{LIMIT:?}\""));
    let (pieces, mut response) = call(gateway.address()).await;
    // Longer than the limit: what is waited for here is that nothing happens.
    tokio::time::sleep(LIMIT + Duration::from_secs(1)).await;
    pieces.send(Bytes::from_static(b"late")).await.unwrap();
    assert_eq!(piece(&mut response).await, "late");
}

#[tokio::test]
async fn a_stream_that_the_upstream_resets_is_reset_and_does_not_end_well() {
    let framed = Framed::start(|came| {
        Some(match came {
            Came::Head { stream, .. } => head(*stream, &[(":status", "200")], false),
            Came::Data { stream, .. } => reset(*stream, INTERNAL_ERROR),
            Came::Reset { .. } | Came::End { .. } => Vec::new(),
        })
    })
    .await;
    let gateway = gateway(&framed.url(), "");
    let (pieces, mut response) = call(gateway.address()).await;
    pieces.send(Bytes::from_static(b"x")).await.unwrap();
    assert!(response.body_mut().frame().await.unwrap().is_err());
    gateway.counted(&super::errors("upstream_unreachable"), 1.0).await;
}

#[tokio::test]
async fn a_caller_that_leaves_resets_its_stream_and_no_other() {
    let api = Api::clear(api::echo).await;
    let gateway = gateway(&format!("h2c://{}", api.address()), "");
    let (staying, mut stays) = call(gateway.address()).await;
    let (leaving, leaves) = call(gateway.address()).await;
    drop((leaving, leaves));
    staying.send(Bytes::from_static(b"still here")).await.unwrap();
    assert_eq!(piece(&mut stays).await, "still here");
    assert_eq!(api.opened(), 1, "both on one connection");
}
