//! `[store]`: where sessions are kept.

use std::path::Path;

use super::secret::secret;
use super::sessions;
use crate::config::fault::Faults;
use crate::config::model::{Secret, Store, StoreAddress};
use crate::config::options;

/// Builds it. What outlives the process must be sealed with keys that do, or nobody could open it again.
pub(super) fn store(
    raw: &options::Store,
    sessions: &[sessions::Raw],
    directory: &Path,
    faults: &mut Faults,
) -> Option<Store> {
    let address = raw.url.value.clone().map(|address| address.within(directory));
    if let Some(address) = &address {
        if address.outlives_process() {
            keyed(raw, sessions, faults);
        }
        if !matches!(address, StoreAddress::Redis(_)) {
            for (name, written, span) in [
                ("username", raw.username.written, &raw.username.span),
                ("password", raw.password.written, &raw.password.span),
            ] {
                if written {
                    let what = format!("`{name}` is only for a Redis server");
                    faults.fault(span, what, "remove it, or name the server: `url = \"rediss://host:6379\"`");
                }
            }
        }
    }
    if raw.username.written && !raw.password.written {
        let help = "add `password = { file = \"...\" }`: the server asks a user for one";
        faults.fault(&raw.username.span, "a user without a password", help);
    }
    let password = match &raw.password.value {
        Some(hidden) => Some(Secret::new(secret(hidden, "password", directory, faults)?)),
        None if raw.password.written => return None,
        None => None,
    };
    Some(Store { address: address?, username: raw.username.value.as_ref().map(|text| text.0.clone()), password })
}

fn keyed(raw: &options::Store, sessions: &[sessions::Raw], faults: &mut Faults) {
    for (name, session) in sessions {
        let Some(cookie) = &session.cookie.value else { continue };
        if cookie.keys.is_absent() {
            let what =
                format!("the session `{}` has no cookie keys: what is stored could never be opened again", name.value);
            let help = "make one with `openssl rand -base64 32 > cookie.key`, give it to every replica, and write \
                        `cookie = { keys = [{ file = \"cookie.key\" }] }`";
            faults.fault(&session.cookie.span, what, help).also(&raw.url.span, "stored here");
        }
    }
}
