//! The same against a Keycloak: its pages, its rotation, its end of session, and its logout tokens.

use std::ops::Deref;

use super::Site;
use super::tap::Tap;
use crate::harness::secret::SecretFile;
use crate::keycloak::server::{Keycloak, SECRET};

/// A Keycloak, and the site that logs people in there.
struct World {
    keycloak: Keycloak,
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
        let keycloak = Keycloak::start().await?;
        keycloak.log_browsers_in("browser", &tap.origin()).await;
        let issuer = format!("[issuers.main]\nissuer = \"{}\"\ndialect = \"keycloak\"", keycloak.issuer());
        let policy = "{ audience = [\"orders-api\"], scopes = [\"orders\"] }";
        let client = "client_id = \"browser\"\nscopes = [\"openid\", \"orders\"]";
        let site = Site::start(tap, &issuer, policy, client, SecretFile::new(SECRET)).await?;
        Some(Self { keycloak, site })
    }

    /// Goes to what needs a session, and through Keycloak's login page.
    async fn logs_in(&self) {
        self.chromium.go(&self.at("/orders/1")).await;
        let script = "const form = document.querySelector('#kc-form-login'); if (!form || form.dataset.sent) return false; \
                      form.dataset.sent = true; form.querySelector('[name=username]').value = 'jo'; \
                      form.querySelector('[name=password]').value = 'jo'; form.submit(); return true;";
        self.through(script, "/orders/1").await;
        assert_eq!(self.session().await[0], 200);
    }
}

#[tokio::test]
#[ignore = "needs Keycloak, which `tests/run --long` installs; starts it, which takes a minute"]
async fn a_browser_logs_in_at_a_real_keycloak_works_through_a_refresh_and_logs_out() {
    let Some(world) = World::start().await else { return };
    let chromium = &world.chromium;
    world.logs_in().await;
    world.keeps_its_secrets().await;
    world.works_through_a_refresh().await;
    // A page of Keycloak's, which is another site's, ends nothing.
    chromium.go(&format!("{}/.well-known/openid-configuration", world.keycloak.issuer())).await;
    let script = format!(
        "await fetch('{}', {{ method: 'POST', mode: 'no-cors', credentials: 'include' }}); return 'sent';",
        world.at("/auth/logout")
    );
    assert_eq!(chromium.run(&script).await, "sent");
    chromium.go(&world.at("/")).await;
    assert_eq!(world.session().await[0], 200);

    world.logs_out().await;
    chromium.arrives(&world.at("/")).await;
    assert_eq!(world.session().await[0], 401);
    assert!(world.own_cookies().await.is_empty());
    world.holds_no_token(&world.tap.seen());
    // At Keycloak the login is over, too: who comes again is asked for the password.
    chromium.go(&world.at("/orders/1")).await;
    chromium.arrives(&world.keycloak.issuer()).await;
    assert_eq!(chromium.run("return document.querySelector('#kc-form-login') !== null").await, true);
}

#[tokio::test]
#[ignore = "needs Keycloak, which `tests/run --long` installs; starts it, which takes a minute"]
async fn a_logout_at_a_real_keycloak_ends_the_session_here() {
    let Some(world) = World::start().await else { return };
    let chromium = &world.chromium;
    world.logs_in().await;
    chromium.another_tab().await;
    chromium.go(&world.keycloak.endpoint("logout")).await;
    chromium.run("document.querySelector('#kc-logout').click();").await;
    world.gateway.counted("bearward_sessions_total{event=\"logged_out\",session=\"web\"}", 1.0).await;
    chromium.go(&world.at("/")).await;
    assert_eq!(world.session().await[0], 401);
    world.holds_no_token(&world.tap.seen());
}
