//! `[upstreams.NAME]`, and those that a route names by URL.

use std::path::Path;
use std::sync::Arc;

use http::HeaderName;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::positive;
use super::upstream_tls::{System, tls};
use crate::config::declare::{Opt, Read};
use crate::config::fault::{Faults, Span};
use crate::config::model::Upstream;
use crate::config::nearest::defined;
use crate::config::options;
use crate::config::read::{At, ForwardedClaims};
use crate::policy::identity::IdentityHeader;
use crate::policy::route::UpstreamId;

/// The upstreams of the file, and further ones as routes name them.
pub(super) struct Upstreams<'r> {
    names: Vec<&'r str>,
    around: Surroundings<'r>,
    /// At the place of their [`UpstreamId`]; `None`: with faults, which were reported.
    built: Vec<Option<Upstream>>,
}

/// What upstreams take from elsewhere.
struct Surroundings<'r> {
    /// How many clients may be connected; `None`: with faults.
    connections: Option<usize>,
    /// What relative paths are relative to.
    directory: &'r Path,
    system: System,
}

impl<'r> Upstreams<'r> {
    pub(super) fn new(
        raw: &'r [(At<String>, options::Upstream)],
        connections: Option<usize>,
        directory: &'r Path,
        faults: &mut Faults,
    ) -> Self {
        let around = Surroundings { connections, directory, system: System::default() };
        Self {
            names: raw.iter().map(|(name, _)| name.value.as_str()).collect(),
            built: raw.iter().map(|(name, raw)| around.upstream(&name.value, raw, faults)).collect(),
            around,
        }
    }

    /// The upstream a route means by this word.
    pub(super) fn find(&mut self, word: &str, span: &Span, faults: &mut Faults) -> Option<UpstreamId> {
        if let Some(at) = self.names.iter().position(|name| *name == word) {
            return Some(UpstreamId(at));
        }
        // A name has no colon.
        if !word.contains(':') {
            let near = defined(word, self.names.iter().copied(), "upstreams", "its `url`");
            let help = format!("a name, or a URL such as \"http://127.0.0.1:3000\": {near}");
            faults.fault(span, format!("no upstream is called `{word}`"), help);
            return None;
        }
        let raw = by_url(word, span, faults)?;
        let name = raw.url.value.as_ref()?.to_string();
        // Two routes that name one URL share its connections.
        let known = self.built.iter().position(|known| known.as_ref().is_some_and(|known| known.name == name));
        let at = known.unwrap_or_else(|| {
            self.built.push(self.around.upstream(&name, &raw, faults));
            self.built.len() - 1
        });
        Some(UpstreamId(at))
    }

    /// The upstream of that id, unless it has faults.
    pub(super) fn get(&self, id: UpstreamId) -> Option<&Upstream> {
        self.built.get(id.0)?.as_ref()
    }

    /// All of them, unless one has faults.
    pub(super) fn finish(self) -> Option<Vec<Upstream>> {
        self.built.into_iter().collect()
    }
}

/// The table that a URL stands for: `url`, and the defaults of all else.
fn by_url(url: &str, span: &Span, faults: &mut Faults) -> Option<options::Upstream> {
    let mut table = DeTable::new();
    table.insert(Spanned::new(span.clone(), "url".into()), Spanned::new(span.clone(), DeValue::String(url.into())));
    let opt = Opt::root::<options::Upstream>("upstream");
    options::Upstream::read(&Spanned::new(span.clone(), DeValue::Table(table)), &opt, faults)
}

impl Surroundings<'_> {
    fn upstream(&self, name: &str, raw: &options::Upstream, faults: &mut Faults) -> Option<Upstream> {
        positive(&raw.timeout, "timeout", "no answer could come in time; the default is \"30s\"", faults);
        positive(&raw.connect_timeout, "connect_timeout", "no connection could be made; the default is \"2s\"", faults);
        positive(
            &raw.max_concurrent,
            "max_concurrent",
            "no request could go there; left out, it is `connections` of [server.limits]",
            faults,
        );
        if raw.retries.value.is_some_and(|retries| retries > 1) {
            let help = "write 1, or 0 for never: more would multiply an outage";
            faults.fault(&raw.retries.span, "`retries` is at most 1", help);
        }
        let identity_headers = raw.identity_headers.value.as_ref().map(|raw| identity_headers(raw, faults));
        let tls = raw.url.value.as_ref().map(|address| tls(address, raw, &self.system, self.directory, faults));
        Some(Upstream {
            name: name.to_owned(),
            address: raw.url.value.clone()?,
            tls: tls??,
            timeout: raw.timeout.value?,
            connect_timeout: raw.connect_timeout.value?,
            retries: raw.retries.value?,
            max_concurrent: match raw.max_concurrent.value {
                Some(bound) => usize::try_from(bound).unwrap_or(usize::MAX),
                None if raw.max_concurrent.written => return None,
                None => self.connections?,
            },
            host: raw.host.value?,
            authorization: raw.authorization.value?,
            identity_headers: identity_headers.unwrap_or_default(),
        })
    }
}

fn identity_headers(ForwardedClaims(raw): &ForwardedClaims, faults: &mut Faults) -> Arc<[IdentityHeader]> {
    let mut headers: Vec<(IdentityHeader, &Span)> = Vec::new();
    for (At { value: header, span }, claim) in raw {
        let Some(name) = header_name(header) else {
            let what = format!("`{header}` cannot be an identity header");
            faults.fault(
                span,
                what,
                "use letters, digits and `-` only: other spellings are dropped from every request",
            );
            continue;
        };
        if let Some(owner) = owner(name.as_str()) {
            let what = format!("`{header}` cannot be an identity header: {owner}");
            faults.fault(span, what, "choose a name of your own, for example \"x-user\"");
        }
        if let Some((_, first)) = headers.iter().find(|(earlier, _)| earlier.name == name) {
            faults
                .fault(span, format!("`{header}` is set twice"), "case does not count in header names; keep one")
                .also(first, "the first");
        }
        headers.push((IdentityHeader { name, claim: claim.clone() }, span));
    }
    headers.into_iter().map(|(header, _)| header).collect()
}

fn header_name(text: &str) -> Option<HeaderName> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    HeaderName::from_bytes(text.as_bytes()).ok().filter(|_| plain)
}

/// Who a header belongs to that no claim may be written into.
fn owner(name: &str) -> Option<&'static str> {
    let listed = |names: &[&str]| names.contains(&name);
    if listed(&["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]) {
        Some("it is about one connection (RFC 9110 section 7.6.1)")
    } else if listed(&["host", "content-length", "content-type", "content-encoding", "expect", "date"]) {
        Some("it is about the message itself")
    } else if listed(&["authorization", "proxy-authorization", "proxy-authenticate", "cookie"]) {
        Some("it holds credentials")
    } else if name.starts_with("x-forwarded-") || listed(&["forwarded", "x-real-ip", "via"]) {
        Some("it says which way the request came")
    } else if listed(&["x-request-id", "traceparent", "tracestate"]) {
        Some("it names the request")
    } else {
        None
    }
}
