//! `[store]`: where sessions are kept.

use std::path::Path;

use rustix::fs::{Access, access};
use url::Url;

use super::secret::secret;
use super::sessions;
use crate::config::fault::{Faults, Span};
use crate::config::is_loopback;
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
        match address {
            StoreAddress::Memory => {}
            StoreAddress::File(path) => writable(path, &raw.url.span, faults),
            StoreAddress::Redis(url) => encrypted(url, raw, faults),
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

/// A file that cannot be made or written is told now; else only requests would be, by a 503. The directory may still come, so
/// that is no fault.
fn writable(path: &Path, span: &Span, faults: &mut Faults) {
    let beside = path.parent().filter(|beside| !beside.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let allowed = if path.exists() {
        access(path, Access::READ_OK | Access::WRITE_OK)
    } else {
        access(beside, Access::WRITE_OK | Access::EXEC_OK)
    };
    if let Err(why) = allowed {
        let what = format!("nothing can be stored in {}: {why}", path.display());
        let help =
            "make its directory, and let the gateway's user write there; until then sessions are refused with 503";
        faults.warn(span, what, help);
    }
}

/// What is stored is sealed; the password is not.
fn encrypted(url: &Url, raw: &options::Store, faults: &mut Faults) {
    if url.scheme() == "redis" && raw.password.written && !is_loopback(url) {
        let help = "have the server listen within TLS, and write `rediss://`; else whoever has the password can read and \
                    remove what stands there";
        faults
            .warn(&raw.url.span, "the password goes to the server in clear: whoever is on the way can read it", help)
            .also(&raw.password.span, "the password");
    }
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
