//! Refresh tokens that nobody will use are given back to their issuer (RFC 7009): in the background, as well as that goes. So
//! what was granted ends with what it was granted for, where the issuer has a revocation endpoint.
//!
//! Some issuers end more by that: whatever came of the same person's login there. So nothing is given back of a login that
//! fails or of a session that is replaced while the browser has another session, which may be of that same login.

use std::sync::Arc;

use super::Sessions;
use crate::policy::grant::Granted;

/// How many are given back at once, for each `[sessions.NAME]`; further ones end by their age.
pub(super) const AT_ONCE: usize = 64;

/// What was granted for a code. Its refresh token is given back when this is dropped before a session has it, whatever
/// the reason: a login that fails, a store that is down, a browser that leaves.
#[must_use = "dropped, it gives the refresh token back"]
pub(in crate::gateway) struct Unclaimed {
    sessions: Arc<Sessions>,
    refresh_token: Option<String>,
}

impl Unclaimed {
    /// A session has it.
    pub(in crate::gateway) fn claim(mut self) {
        self.refresh_token = None;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(refresh_token) = self.refresh_token.take() {
            self.sessions.give_back(refresh_token);
        }
    }
}

impl Sessions {
    /// What was granted, to be given back unless it is claimed.
    pub(in crate::gateway) fn unclaimed(self: &Arc<Self>, granted: &Granted) -> Unclaimed {
        Unclaimed { sessions: Arc::clone(self), refresh_token: granted.refresh_token.clone() }
    }

    /// Gives a refresh token back that nobody will use.
    pub(in crate::gateway) fn give_back(self: &Arc<Self>, refresh_token: String) {
        let Ok(one_of_few) = Arc::clone(&self.revocations).try_acquire_owned() else {
            tracing::warn!(session = self.name(), "a refresh token was not revoked: too many are being revoked");
            return;
        };
        let sessions = Arc::clone(self);
        drop(self.control.spawn(async move {
            if let Err(failure) = sessions.plan.endpoint.revoke(&refresh_token).await {
                let (cause, help) = failure.told();
                tracing::info!(session = sessions.name(), cause, help, "a refresh token could not be revoked");
            }
            drop(one_of_few);
        }));
    }
}
