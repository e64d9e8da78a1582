//! Browser sessions in a real browser: Chromium against a certified provider, against a Keycloak, and against the demo.
//!
//! `tests/run` installs it; the provider is npm `oidc-provider`, with its own login and consent pages.

mod driver;
mod keycloak;
mod tap;

use std::ops::Deref;

use bearward::demo::{self, Demo};
use bearward::remote::clock::Clock;
use serde_json::{Value, json};

use self::driver::Chromium;
use self::tap::Tap;
use crate::harness::gateway::Served;
use crate::harness::secret::SecretFile;
use crate::harness::upstream::Upstream;
use crate::oidc_provider::provider::Provider;

const API: &str = "https://es256.api.example";

/// API, gateway, and a browser on a wire that is listened to.
struct Site {
    chromium: Chromium,
    upstream: Upstream,
    gateway: Served,
    tap: Tap,
    _secret: SecretFile,
}

/// The same, and the provider that people log in at.
struct World {
    provider: Provider,
    site: Site,
}

impl Deref for World {
    type Target = Site;
    fn deref(&self) -> &Site {
        &self.site
    }
}

impl World {
    async fn start() -> Option<Self> {
        let tap = Tap::start().await;
        let provider = Provider::start_for(&tap.origin())?;
        let issuer = format!("[issuers.main]\nissuer = \"{}\"", provider.issuer);
        let policy = format!("{{ audience = [\"{API}\"], scopes = [\"read:orders\"] }}");
        let client = format!(
            "client_id = \"browser\"\nscopes = [\"openid\", \"offline_access\", \"read:orders\"]\n\
             parameters = {{ resource = \"{API}\", prompt = \"consent\" }}"
        );
        let secret = SecretFile::new("the secret of the browser's client");
        let site = Site::start(tap, &issuer, &policy, &client, secret).await?;
        Some(Self { provider, site })
    }

    /// Goes through the provider's pages to the end, which is at that path.
    async fn through_the_pages(&self, path: &str) {
        let script = "const form = document.querySelector('form'); if (!form || form.dataset.sent) return false; \
                      form.dataset.sent = true; const login = document.querySelector('input[name=login]'); \
                      if (login) { login.value = 'ada'; document.querySelector('input[name=password]').value = 'any'; } \
                      form.submit(); return true;";
        self.through(script, path).await;
    }
}

impl Site {
    /// The gateway in front of the API: the issuer `main`, the policy of `/orders/*`, and the client as which it logs browsers
    /// in. None where there is no browser.
    async fn start(mut tap: Tap, issuer: &str, policy: &str, client: &str, secret: SecretFile) -> Option<Self> {
        let (upstream, chromium) = (Upstream::start().await, Chromium::start().await?);
        let gateway = Served::start(&format!(
            r#"
            {issuer}

            [policies]
            orders = {policy}

            [[routes]]
            path = "/orders/*"
            policy = "orders"
            upstream = "{api}"
            session = "web"

            [[routes]]
            path = "/"
            policy = "public"
            upstream = "{api}"

            [sessions.web]
            issuer = "main"
            origin = "{}"
            client_secret = {}
            timeout = "60s"
            {client}
            "#,
            tap.origin(),
            secret.toml(),
            api = upstream.url(),
        ));
        tap.lead(gateway.address());
        Some(Self { chromium, upstream, gateway, tap, _secret: secret })
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.tap.origin())
    }

    /// Runs a script in each page of the issuer until the browser is back, at that path.
    async fn through(&self, script: &str, path: &str) {
        loop {
            self.chromium.arrives("http://").await;
            if self.chromium.address().await.starts_with(&self.tap.origin()) {
                break;
            }
            // A page that is on its way answers nothing yet; one that is on its way out has sent its form.
            let _ = self.chromium.run(script).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        self.chromium.arrives(&self.at(path)).await;
    }

    /// Sends the form that logs out.
    async fn logs_out(&self) {
        let script = "const form = document.createElement('form'); form.method = 'post'; form.action = '/auth/logout'; \
                      document.body.append(form); form.submit();";
        self.chromium.run(script).await;
    }

    /// The access token of ten seconds is spent while the page does nothing; then everything is asked for at once.
    async fn works_through_a_refresh(&self) {
        let all = self
            .chromium
            .run(
                "await new Promise((over) => setTimeout(over, 11000)); \
                 return Promise.all(Array.from({ length: 50 }, async (_, at) => (await fetch(`/orders/${at}`)).status));",
            )
            .await;
        assert_eq!(all, json!(vec![200; 50]));
        let refreshed = |result| {
            let series = format!("bearward_session_refreshes_total{{result=\"{result}\",session=\"web\"}}");
            self.gateway.sample(&series).unwrap_or_default()
        };
        assert!(refreshed("success") >= 1.0);
        assert_eq!(
            refreshed("invalid_grant") + refreshed("lost") + refreshed("refused") + refreshed("unavailable"),
            0.0
        );
    }

    /// What the browser has of a session, and what its pages know of it.
    async fn keeps_its_secrets(&self) {
        let cookies = self.own_cookies().await;
        let [cookie] = &cookies[..] else { panic!("one cookie: {cookies:?}") };
        assert_eq!((&cookie["name"], &cookie["path"]), (&json!("__Host-session"), &json!("/")));
        assert_eq!(
            (&cookie["httpOnly"], &cookie["secure"], &cookie["sameSite"]),
            (&json!(true), &json!(true), &json!("Lax"))
        );
        assert_eq!(self.session().await[0], 200);
        let readable = self.chromium.run("return document.cookie").await;
        assert!(!readable.as_str().unwrap().contains("__Host-"), "{readable}");
        self.holds_no_token(&self.visible().await);
    }

    /// The cookies of the gateway. Those of the provider are beside them: cookies know no port.
    async fn own_cookies(&self) -> Vec<Value> {
        let mut cookies = self.chromium.cookies().await;
        cookies.retain(|cookie| cookie["name"].as_str().unwrap().starts_with("__Host-"));
        cookies
    }

    async fn session(&self) -> Value {
        self.chromium
            .run("const answer = await fetch('/auth/session'); return [answer.status, await answer.text()];")
            .await
    }

    /// All that a script of the page can get at.
    async fn visible(&self) -> String {
        let all = self.chromium.run(
            "const session = await fetch('/auth/session'); const orders = await fetch('/orders/1'); \
             return JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}, location.href, \
             performance.getEntries().map((entry) => entry.name), document.documentElement.outerHTML, \
             [...session.headers], await session.text(), [...orders.headers], await orders.text()]);",
        );
        all.await.as_str().unwrap().to_owned()
    }

    /// No token of those that the API has seen, and nothing that looks like one.
    fn holds_no_token(&self, text: &str) {
        for request in self.upstream.requests() {
            for value in request.all("authorization") {
                assert!(!text.contains(value.strip_prefix("Bearer ").unwrap()), "an access token is visible");
            }
        }
        // The one place where a token leaves: the hint that goes on to the issuer.
        let mut parts = text.split("id_token_hint=");
        let first = parts.next().unwrap_or_default();
        let rest = parts.filter_map(|part| part.split_once(['&', '\r', ' ', '"'])).map(|(_, rest)| rest);
        for part in std::iter::once(first).chain(rest) {
            // Every JWT begins with an encoded `{"`.
            assert!(!part.contains("eyJ"), "a JWT is visible");
        }
    }
}

#[tokio::test]
async fn a_browser_logs_in_works_through_a_refresh_and_logs_out() {
    let Some(world) = World::start().await else { return };
    let chromium = &world.chromium;

    // Two tabs go to what needs a session; both logins come to their end.
    let first = chromium.tab().await;
    chromium.go(&world.at("/orders/1")).await;
    chromium.arrives(&world.provider.issuer).await;
    let second = chromium.another_tab().await;
    chromium.go(&world.at("/orders/2")).await;
    chromium.arrives(&world.provider.issuer).await;
    chromium.turn_to(&first).await;
    world.through_the_pages("/orders/1").await;
    chromium.turn_to(&second).await;
    world.through_the_pages("/orders/2").await;

    world.keeps_its_secrets().await;
    world.works_through_a_refresh().await;

    // A request of a page of another site changes nothing: this one is of the provider's.
    chromium.go(&format!("{}/.well-known/openid-configuration", world.provider.issuer)).await;
    let script = format!(
        "await fetch('{}', {{ method: 'POST', mode: 'no-cors', credentials: 'include' }}); return 'sent';",
        world.at("/auth/logout")
    );
    assert_eq!(chromium.run(&script).await, "sent");
    chromium.go(&world.at("/")).await;
    assert_eq!(world.session().await[0], 200);

    // The way out goes over the provider, which asks, and back.
    world.logs_out().await;
    chromium.arrives(&world.provider.issuer).await;
    chromium.run("document.querySelector('button[name=logout][value=yes]').click();").await;
    chromium.arrives(&world.at("/")).await;
    assert_eq!(world.session().await[0], 401);
    assert!(world.own_cookies().await.is_empty());
    world.holds_no_token(&world.tap.seen());
    assert!(world.tap.seen().contains("id_token_hint=eyJ"));
}

#[tokio::test]
async fn a_logout_at_the_issuer_ends_the_session_here() {
    let Some(world) = World::start().await else { return };
    let chromium = &world.chromium;
    chromium.go(&world.at("/orders/1")).await;
    world.through_the_pages("/orders/1").await;
    assert_eq!(world.session().await[0], 200);

    chromium.another_tab().await;
    chromium.go(&format!("{}/session/end", world.provider.issuer)).await;
    chromium.run("document.querySelector('button[name=logout][value=yes]').click();").await;
    chromium.arrives(&format!("{}/session/end/success", world.provider.issuer)).await;
    world.gateway.counted("bearward_sessions_total{event=\"logged_out\",session=\"web\"}", 1.0).await;
    chromium.go(&world.at("/")).await;
    assert_eq!(world.session().await[0], 401);
    world.holds_no_token(&world.tap.seen());
}

#[tokio::test]
async fn the_demos_page_shows_what_there_is_to_see() {
    let Some(chromium) = Chromium::start().await else { return };
    let demo = Demo::start(demo::provider("rfc9068").unwrap(), Clock::system()).await.unwrap();
    let home = format!("http://{}/", demo.address());
    let shows = |id: &'static str, text: &'static str| {
        let script = format!(
            "for (let look = 0; look < 500; look += 1) {{ \
               if (document.getElementById('{id}').textContent.includes('{text}')) return true; \
               await new Promise((over) => setTimeout(over, 50)); }} \
             return document.getElementById('{id}').textContent;"
        );
        let chromium = &chromium;
        async move { assert_eq!(chromium.run(&script).await, true, "{id} shows {text}") }
    };
    chromium.go(&home).await;
    shows("who", "Nobody is logged in").await;
    chromium.run("document.getElementById('call').click();").await;
    shows("answer", "credential_missing").await;
    chromium.run("document.getElementById('login').click();").await;
    shows("who", "You are ").await;
    chromium.run("document.getElementById('call').click();").await;
    shows("answer", "present, not repeated").await;
    assert_eq!(chromium.run("return document.documentElement.outerHTML.includes('eyJ') || document.cookie").await, "");
    chromium.run("document.querySelector('#logout button').click();").await;
    chromium.arrives(&home).await;
    shows("who", "Nobody is logged in").await;
    demo.stop().await;
}
