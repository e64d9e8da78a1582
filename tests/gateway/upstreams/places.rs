//! Where an upstream is and what it speaks, in clear.

use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

use super::{connections, gateway};
use crate::harness::api::{self, Api, Reply};
use crate::harness::client::{Client, Http2};

#[tokio::test]
async fn an_upstream_may_speak_http2_without_tls() {
    let api = Api::clear(api::ok).await;
    let gateway = gateway(&format!("h2c://{}", api.address()), "");
    let mut client = Client::connect(gateway.address()).await;
    for _ in 0..2 {
        let request = "POST /a%20b?x=%2f HTTP/1.1\r\nhost: api.test\r\nte: trailers\r\nconnection: te, x-hop\r\n\
                       x-hop: 1\r\ntransfer-encoding: chunked\r\ncookie: a=b\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        let answer = client.ask(request).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
    }
    let asked = api.asked(1).await;
    assert_eq!((asked.version, asked.connection), (Version::HTTP_2, 0));
    assert_eq!(asked.uri, "http://api.test/a%20b?x=%2f");
    let mut names: Vec<_> = asked.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "cookie",
        "forwarded",
        "te",
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];
    assert_eq!(names, expected);
    assert_eq!(asked.headers["te"], "trailers");
    gateway.counted(&connections("idle"), 1.0).await;
    assert_eq!(gateway.sample(&connections("active")), Some(0.0));
}

/// Longer than the kernel's own limit on a connection can be.
#[tokio::test]
async fn an_upstream_may_take_any_time() {
    let api = Api::clear(api::ok).await;
    let gateway = gateway(&format!("http://{}", api.address()), "timeout = \"365d\"");
    assert_eq!(Client::connect(gateway.address()).await.get("/x").await.text(), "ok");
}

#[tokio::test]
async fn an_upstream_may_listen_on_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("api.sock");
    let api = Api::unix(&path, api::ok);
    let gateway = gateway(&format!("unix:{}", path.display()), "");
    let mut client = Client::connect(gateway.address()).await;
    for number in 0..2 {
        assert_eq!(client.get("/x").await.text(), "ok");
        let asked = api.asked(number).await;
        assert_eq!((asked.version, asked.connection), (Version::HTTP_11, 0));
        assert_eq!((asked.uri.to_string().as_str(), &asked.headers["host"]), ("/x", &"api.test".parse().unwrap()));
    }
    drop(api);
    std::fs::remove_file(&path).unwrap();
    gateway.counted(&connections("idle"), 1.0).await;
    let mut http2 = Http2::connect(gateway.address()).await;
    let answer = http2.ask(Request::get("http://a/").body(Full::default()).unwrap()).await;
    assert_eq!(answer.status, 200, "the connection that there is lives on");
}

#[tokio::test]
async fn a_route_may_name_an_upstream_of_any_kind_by_its_url() {
    let api = Api::clear(api::ok).await;
    let toml = format!(
        "[[routes]]\npath = \"/*\"\npolicy = \"public\"\nupstream = \"h2c://{0}\"\n\
         [[routes]]\npath = \"/plain\"\npolicy = \"public\"\nupstream = \"http://{0}\"\n",
        api.address()
    );
    let gateway = crate::harness::gateway::Served::start(&toml);
    let mut client = Client::connect(gateway.address()).await;
    for (path, version) in [("/x", Version::HTTP_2), ("/plain", Version::HTTP_11)] {
        let before = api.count();
        assert_eq!(client.get(path).await.status, 200);
        assert_eq!(api.asked(before).await.version, version);
    }
}

#[tokio::test]
async fn an_answer_without_a_body_has_none_over_http2_either() {
    async fn answer(request: Request<Incoming>) -> Response<Reply> {
        let status: u16 = request.uri().path().trim_start_matches('/').parse().unwrap();
        let _ = request.into_body().collect().await;
        Response::builder().status(status).body(api::body("body")).unwrap()
    }
    let api = Api::clear(answer).await;
    let gateway = gateway(&format!("h2c://{}", api.address()), "");
    let mut client = Client::connect(gateway.address()).await;
    for (method, status, length) in
        [("GET", 200, Some("4")), ("HEAD", 200, Some("4")), ("GET", 204, None), ("GET", 304, None)]
    {
        let answer = client.ask(format!("{method} /{status} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let text = if (method, status) == ("GET", 200) { "body" } else { "" };
        assert_eq!(
            (answer.status, answer.text(), answer.header("content-length")),
            (status, text, length),
            "{method} {status}"
        );
    }
}
