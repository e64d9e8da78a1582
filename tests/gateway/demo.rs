//! The demo's page: a person logs in at each provider, calls the API and logs out.

use bearward::demo::{Demo, providers};
use bearward::remote::clock::Clock;
use http::Method;
use serde_json::Value;
use url::Url;

use crate::harness::browser::{Answer, Browser};

/// From an address to where the redirects end.
async fn follow(browser: &mut Browser, start: &Url, headers: &[(&str, &str)]) -> (Url, Answer) {
    let mut address = start.clone();
    for _ in 0..8 {
        let answer = browser.send(Method::GET, &address, headers, String::new()).await;
        if answer.status != 302 {
            return (address, answer);
        }
        address = address.join(&answer.location()).unwrap();
    }
    panic!("the redirects of {start} come to no end");
}

#[tokio::test]
async fn every_provider_of_the_demo_logs_a_browser_in() {
    for provider in providers().unwrap() {
        let name = &provider.dialect;
        let demo = Demo::start(provider, Clock::system()).await.unwrap();
        let at = |path: &str| Url::parse(&format!("http://{}{path}", demo.address())).unwrap();
        let navigates = [("sec-fetch-mode", "navigate")];
        let mut browser = Browser::default();
        let (address, page) = follow(&mut browser, &at("/"), &navigates).await;
        assert_eq!((address, page.status), (at("/"), 200), "{name}");
        assert!(page.body.contains("/page.js"));

        // Whoever goes to what needs a session comes back to it, logged in.
        let (address, answer) = follow(&mut browser, &at("/orders/1?x=1"), &navigates).await;
        assert_eq!((address, answer.status), (at("/orders/1?x=1"), 200), "{name}: {}", answer.body);
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(told["authorization"], "present, not repeated", "{name}");

        let (_, answer) = follow(&mut browser, &at("/auth/session"), &[]).await;
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&told["authenticated"], answer.status), (&Value::Bool(true), 200), "{name}");

        let from_page = [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate")];
        let answer = browser.send(Method::POST, &at("/auth/logout"), &from_page, String::new()).await;
        assert_eq!(answer.status, 303, "{name}");
        let (address, _) = follow(&mut browser, &Url::parse(&answer.location()).unwrap(), &navigates).await;
        assert_eq!(address, at("/"), "{name}: back from the issuer");
        let (_, answer) = follow(&mut browser, &at("/orders/1"), &[]).await;
        assert_eq!(answer.status, 401, "{name}");
        demo.stop().await;
    }
}
