//! `sessions.NAME.cookie`: its name, and the keys that seal it.

use std::path::Path;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::repeated_as;
use super::secret::secret;
use crate::config::fault::Faults;
use crate::config::model::Secret;
use crate::config::options;
use crate::config::read::{At, Hidden, Text};
use crate::policy::cookies::SameSite;

/// The length of a key in bytes.
const KEY: usize = 32;

/// As `openssl rand -base64 32` writes it, or without the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The cookie's name, when it is sent, and what seals it.
pub(super) fn cookie(
    raw: &options::Cookie,
    directory: &Path,
    faults: &mut Faults,
) -> Option<(String, SameSite, Vec<Secret>)> {
    let Text(name) = raw.name.value.as_ref()?;
    let rest = name.strip_prefix("__Host-").unwrap_or_default();
    if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        let what = format!("`{name}` is not `__Host-` and then a name of letters, digits, `_` and `-`");
        let help = "write \"__Host-session\": a browser takes a cookie of such a name from this host alone, within TLS";
        faults.fault(&raw.name.span, what, help);
    }
    let keys = keys(raw, directory, faults);
    Some((name.clone(), raw.same_site.value?, keys?))
}

fn keys(raw: &options::Cookie, directory: &Path, faults: &mut Faults) -> Option<Vec<Secret>> {
    if raw.keys.is_absent() {
        return Some(Vec::new());
    }
    let listed = raw.keys.value.as_ref()?;
    if listed.is_empty() {
        let help = "name a file with 32 bytes in base64, or leave `keys` out for one that is made at each start";
        faults.fault(&raw.keys.span, "`keys` is empty", help);
    }
    let read: Vec<_> = listed.iter().map(|at| key(at, directory, faults)).collect();
    let keys = read.into_iter().collect::<Option<Vec<_>>>()?;
    let placed: Vec<_> = keys.iter().zip(listed).map(|(key, at)| (key, &at.span)).collect();
    repeated_as(&placed, |_| "the same key stands here twice".to_owned(), faults);
    Some(keys)
}

fn key(At { value, span }: &At<Hidden>, directory: &Path, faults: &mut Faults) -> Option<Secret> {
    let text = secret(value, "keys", directory, faults)?;
    let key = BASE64.decode(text.trim_ascii()).ok().filter(|key| key.len() == KEY);
    if key.is_none() {
        let help = "make one with `openssl rand -base64 32`, a file for each";
        faults.fault(span, format!("a cookie key is {KEY} bytes in base64, which this is not"), help);
    }
    key.map(Secret::new)
}
