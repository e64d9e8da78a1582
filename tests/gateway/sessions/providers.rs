//! Sessions at providers that behave as they do: each rotates refresh tokens, and refuses them, in its own way.

use std::time::Duration;

use bearward::config::{Authentication, Secret};
use bearward::demo::providers;

use super::refused;
use crate::harness::emulated::Emulated;
use crate::harness::replica::{Kept, source};

#[tokio::test]
async fn a_session_is_kept_fresh_at_every_emulated_provider_until_it_refuses() {
    for row in providers().unwrap() {
        let provider = Emulated::start(row).await;
        let secret = Secret::new(provider.issuer.client_secret().as_bytes().to_vec());
        let authentication =
            if row.writes_basic() { Authentication::Basic(secret) } else { Authentication::Post(secret) };
        let (token, revocation) = (provider.issuer.token_endpoint(), provider.endpoint("revocation_endpoint"));
        let source = source(&token, revocation.as_str(), provider.issuer.client_id(), authentication);
        let Kept { replica, cookie } =
            Kept::fresh(source, &provider.clock, &provider.hands, &provider.log_in().await, 3).await;
        // Its life is over at the provider: whatever the words of that, the session ends.
        provider.hands.advance(Duration::from_secs(row.lifetimes.refresh));
        assert_eq!(replica.access(&cookie).await, refused("session_expired"), "{}", row.dialect);
    }
}
