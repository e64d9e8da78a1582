//! Where an issuer's keys come from: its HMAC secret, a file, a URL, or discovery; and what it is asked beside them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use url::{Host, Url};

use super::files;
use super::secret::secret;
use crate::config::declare::Field;
use crate::config::fault::{Faults, Span};
use crate::config::files::sha256;
use crate::config::model::{Endpoints, KeySource};
use crate::config::options::{Issuer, Jwks};
use crate::config::read::At;
use crate::policy::credential;
use crate::policy::jwk::JwkSet;
use crate::policy::jwt::{Algorithm, HmacSecret};

/// As long as one that is fetched.
const KEY_SET: files::Kind = files::Kind { what: "the key set", longest: 1 << 20, secret: false };

/// Longer than any token.
const TOKEN: files::Kind = files::Kind { what: "the token's file", longest: 64 << 10, secret: false };

/// The public keys of an issuer: a file, a URL, or what discovery names.
pub(super) fn keys(raw: &Issuer, jwks: &Jwks, directory: &Path, faults: &mut Faults) -> Option<KeySource> {
    let allow_http = raw.allow_http.value?;
    let written = [("jwks.uri", &jwks.uri), ("discovery_url", &raw.discovery_url)];
    for (name, field) in written {
        if let Some(url) = &field.value {
            encrypted(url, &field.span, name, allow_http, faults);
        }
    }
    if jwks.uri.written && jwks.file.written {
        let what = "`jwks` names both a URL and a file";
        faults.fault(&jwks.file.span, what, "keep one of them").also(&jwks.uri.span, "the URL");
    }
    if jwks.file.written {
        only_fetched(jwks, "file", &jwks.file.span, faults);
        return key_file(&directory.join(&jwks.file.value.as_ref()?.0), &jwks.file.span, faults);
    }
    let source = fetched(raw, jwks, faults);
    if let Some(path) = &jwks.bearer_file.value {
        bearer_file(&directory.join(&path.0), &jwks.bearer_file.span, source.as_ref(), faults);
    }
    source
}

/// What is asked over the network.
fn fetched(raw: &Issuer, jwks: &Jwks, faults: &mut Faults) -> Option<KeySource> {
    if jwks.uri.written {
        return jwks.uri.value.clone().map(KeySource::Uri);
    }
    let help = "say where its keys are: `discovery_url = \"https://...\"`, or `jwks = { uri = \"https://...\" }`";
    discovery_of(raw, "keys", help, faults).map(KeySource::Discovery)
}

/// Where the issuer's discovery document is, from which `what` shall be learned.
pub(super) fn discovery_of(raw: &Issuer, what: &str, help: &str, faults: &mut Faults) -> Option<Url> {
    if raw.discovery_url.written {
        return raw.discovery_url.value.clone();
    }
    let url = discovery(&raw.issuer.value.as_ref()?.0);
    match &url {
        Some(url) => encrypted(url, &raw.issuer.span, "issuer", raw.allow_http.value?, faults),
        None => {
            let text = &raw.issuer.value.as_ref()?.0;
            // Most who leave the scheme out have forgotten it.
            let with_scheme = format!("https://{text}");
            let is_host = text.contains('.') && !text.contains(':') && discovery(&with_scheme).is_some();
            let meant = format!("write \"{with_scheme}\", if its tokens have that as `iss`; else {help}");
            let help = if is_host { &meant } else { help };
            faults.fault(&raw.issuer.span, format!("the issuer is not a URL whose {what} could be discovered"), help);
        }
    }
    url
}

/// The secret of an issuer that signs with one; public keys beside it are a fault.
pub(super) fn hmac(raw: &Issuer, jwks: &Jwks, directory: &Path, faults: &mut Faults) -> Option<HmacSecret> {
    let beside = [
        ("jwks.uri", &jwks.uri.span, jwks.uri.written),
        ("jwks.file", &jwks.file.span, jwks.file.written),
        ("discovery_url", &raw.discovery_url.span, raw.discovery_url.written),
    ];
    for (name, span, _) in beside.into_iter().filter(|(_, _, written)| *written) {
        let help = "an issuer has public keys or a secret, never both: remove one of them";
        faults.fault(span, format!("`{name}` beside `hmac_secret`"), help).also(&raw.hmac_secret.span, "the secret");
    }
    only_fetched(jwks, "hmac_secret", &raw.hmac_secret.span, faults);
    let bytes = secret(raw.hmac_secret.value.as_ref()?, "hmac_secret", directory, faults)?;
    let least = least_secret(&raw.algorithms);
    if bytes.len() < least {
        let what = format!("the secret has {} bytes; the hash of `algorithms` needs at least {least}", bytes.len());
        let help = "make a longer one (RFC 7518 section 3.2), for example with `openssl rand -base64 64`, at the issuer and here";
        faults.fault(&raw.hmac_secret.span, what, help);
        return None;
    }
    Some(HmacSecret::new(&bytes))
}

/// The issuer's endpoints, each of which may get a secret or a browser.
pub(super) fn endpoints(raw: &Issuer, faults: &mut Faults) -> Endpoints {
    let Some(endpoints) = &raw.endpoints.value else { return Endpoints::default() };
    let mut endpoint = |name: &str, field: &Field<Url>| {
        if let (Some(url), Some(allow_http)) = (&field.value, raw.allow_http.value) {
            encrypted(url, &field.span, name, allow_http, faults);
        }
        field.value.clone()
    };
    Endpoints {
        authorization: endpoint("endpoints.authorization", &endpoints.authorization),
        token: endpoint("endpoints.token", &endpoints.token),
        end_session: endpoint("endpoints.end_session", &endpoints.end_session),
        revocation: endpoint("endpoints.revocation", &endpoints.revocation),
    }
}

/// Options that say something only of keys that are fetched.
fn only_fetched(jwks: &Jwks, beside: &str, other: &Span, faults: &mut Faults) {
    for (name, field) in [("snapshot", &jwks.snapshot), ("bearer_file", &jwks.bearer_file)] {
        if field.written {
            let what = format!("`{name}` beside `{beside}`: nothing is fetched from this issuer");
            faults.fault(&field.span, what, "remove it").also(other, beside);
        }
    }
}

/// The token that is shown to the issuer: read again at each fetch, because it changes, and looked at now, because a
/// mistake should be told now. Whoever runs on the machine may read it: Kubernetes makes it so.
fn bearer_file(path: &Path, span: &Span, source: Option<&KeySource>, faults: &mut Faults) {
    let shown = path.display();
    if let Some(KeySource::Discovery(url) | KeySource::Uri(url)) = source
        && url.scheme() != "https"
        && !is_loopback(url)
    {
        let help = "use https for what is fetched from this issuer: `allow_http` does not stand for this";
        faults.fault(span, format!("the token of {shown} would go to {url} in clear"), help);
    }
    let Some(text) = files::read(path, &TOKEN, span, faults) else { return };
    match credential::bearer(&text) {
        // A good one is exchanged for another good one without anybody's doing: that is no change of the configuration.
        Ok(_) => faults.files.forget(path),
        Err(why) => {
            faults.fault(span, format!("the text of {shown} {why}"), "name the file that holds the token alone");
        }
    }
}

/// The longest hash of the algorithms that are named; that of HS256 where none is.
fn least_secret(algorithms: &Field<Vec<At<Algorithm>>>) -> usize {
    let named = algorithms.value.iter().flatten().filter_map(|at| at.value.least_secret());
    named.max().or(Algorithm::HS256.least_secret()).unwrap_or_default()
}

fn key_file(path: &Path, span: &Span, faults: &mut Faults) -> Option<KeySource> {
    let shown = path.display();
    let bytes = files::read(path, &KEY_SET, span, faults)?;
    let set = JwkSet::parse(&bytes)
        .map_err(|why| {
            let help = "name a JWK Set (RFC 7517 section 5): `{ \"keys\": [ ... ] }`";
            faults.fault(span, format!("the key set {shown} {why}"), help);
        })
        .ok()?;
    if set.is_empty() {
        let what = match set.unusable() {
            [] => format!("the key set {shown} is empty"),
            [_, ..] => format!("the key set {shown} has no key that can be used ({})", set.left_out()),
        };
        faults.fault(span, what, "put in the public keys the issuer signs with");
        return None;
    }
    if !set.unusable().is_empty() {
        let what = format!("keys of {shown} that cannot be used: {}", set.left_out());
        faults.warn(span, what, "tokens that only these keys could check are refused as `key_unknown`");
    }
    Some(KeySource::File { path: path.to_owned(), keys: Arc::new(set), digest: sha256(&bytes) })
}

/// OpenID Connect Discovery 1.0 section 4: the issuer without its final slash, then the well-known path.
pub(in crate::config) fn discovery(issuer: &str) -> Option<Url> {
    let base = Url::parse(issuer).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let has_user = !base.username().is_empty() || base.password().is_some();
    if has_user || base.query().is_some() || base.fragment().is_some() || base.host().is_none() {
        return None;
    }
    Url::parse(&format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))).ok()
}

/// Plain http may be read and changed on its way: keys and answers that came so prove nothing.
pub(super) fn encrypted(url: &Url, span: &Span, name: &str, allow_http: bool, faults: &mut Faults) {
    if url.scheme() == "https" || allow_http || is_loopback(url) {
        return;
    }
    let what = format!("`{name}` is plain http outside loopback: whoever is on the way can read it and change it");
    let help = "use https; `allow_http = true` of the issuer allows it where the network itself is trusted";
    faults.fault(span, what, help);
}

/// Whether an address is on this machine, where nobody else is on the way.
pub(in crate::config) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // Of schemes that the URL standard does not know an address is read as a name.
        Some(Host::Domain(name)) => {
            name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}
