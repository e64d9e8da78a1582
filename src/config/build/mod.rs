//! From the raw mirror to the model: whether the values fit each other, and what [`policy`](crate::policy) says of them.
//!
//! No function here returns at the first fault. Each looks at all it was given, adds what is wrong, and only then
//! assembles its part, or `None` where a piece is missing.

mod certificates;
mod client;
mod cookie;
mod cross_origin;
mod files;
mod introspection;
mod issuers;
pub(super) mod keys;
mod paths;
mod policies;
mod reach;
mod routes;
mod secret;
mod server;
mod sessions;
mod store;
mod tls;
mod unused;
mod upstream_tls;
mod upstreams;

use std::path::Path;
use std::sync::Arc;

use super::declare::Field;
use super::fault::{Faults, Span};
use super::files::sha256;
use super::model::Config;
use super::options::File;
use super::read::{At, Named};
use crate::policy::Rules;
use crate::policy::request::HeadLimits;

use self::routes::Surroundings;
use self::sessions::sessions;
use self::store::store;
use self::upstreams::Upstreams;

/// Builds the model of `source`; relative paths are relative to `directory`.
pub(super) fn config(file: &File, source: &str, directory: &Path, faults: &mut Faults) -> Option<Config> {
    let raw_issuers = named(&file.issuers);
    let server = file.server.value.as_ref().and_then(|raw| server::server(raw, directory, faults));
    let admin = file.admin.value.as_ref().and_then(|raw| server::admin(raw, file.server.value.as_ref(), faults));
    let log = file.log.value.as_ref().and_then(server::log);
    let traces = file.telemetry.value.as_ref().and_then(|raw| server::traces(raw, faults));
    let issuers = issuers::issuers(raw_issuers, directory, faults);
    let connections = server.as_ref().map(|server| server.limits.connections);
    let mut upstreams = Upstreams::new(named(&file.upstreams), connections, directory, faults);
    let raw_sessions = named(&file.sessions);
    let sessions = sessions(raw_sessions, raw_issuers, directory, faults);
    let store = file.store.value.as_ref().and_then(|raw| store(raw, raw_sessions, directory, faults));
    let around = Surroundings {
        issuers: raw_issuers,
        sessions: raw_sessions,
        policies: named(&file.policies)
            .iter()
            .map(|(name, raw)| {
                (name.value.as_str(), policies::policy(&name.value, raw, &name.span, raw_issuers, faults))
            })
            .collect(),
        body_bytes: server.as_ref().and_then(|server| server.limits.body_bytes),
    };
    if let Some((name, _)) = named(&file.policies).iter().find(|(name, _)| name.value == "public") {
        let help = "choose another name: `policy = \"public\"` of a route means that no credential is looked at";
        faults.fault(&name.span, "a policy cannot be called `public`", help);
    }
    let raw_routes = file.routes.value.as_deref().unwrap_or_default();
    if raw_routes.is_empty() && file.routes.value.is_some() {
        let help = "add `[[routes]]` with a `path`, a `policy` and an `upstream`";
        faults.fault(&file.routes.span, "the file has no route: nothing would be served", help);
    }
    let routes = routes::routes(raw_routes, &around, &mut upstreams, faults);
    let (server, (issuers, signers), (sessions, sites)) = (server?, issuers?, sessions?);
    secret::no_client_mints(raw_issuers, (&issuers, &signers), &sessions, faults);
    let policies: Option<Vec<_>> = around.policies.iter().map(|(_, policy)| policy.clone()).collect();
    let rules = Rules {
        routes: routes?,
        issuers: signers,
        sites,
        token_bytes: server.limits.token_bytes,
        head: HeadLimits { bytes: server.limits.head_bytes, fields: HeadLimits::FIELDS },
    };
    let config = Config {
        server,
        admin: admin?,
        log: log?,
        traces: traces?,
        issuers,
        upstreams: upstreams.finish()?,
        sessions,
        store: store?,
        rules: Arc::new(rules),
        hash: hash(source),
    };
    if faults.is_none() {
        unused::unused(file, &config, &policies?, faults);
    }
    Some(config)
}

fn named<T>(field: &Field<Named<T>>) -> &[(At<String>, T)] {
    field.value.as_ref().map_or(&[], |named| &named.0)
}

/// The first 12 hex digits of the SHA-256 of the file.
fn hash(source: &str) -> String {
    sha256(source.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Reports a value that must be more than nothing.
fn positive<T: PartialEq + Default + Copy>(field: &Field<T>, name: &str, why: &str, faults: &mut Faults) {
    if field.value == Some(T::default()) {
        faults.fault(&field.span, format!("`{name}` cannot be 0"), why);
    }
}

/// Reports values that stand twice in a list.
fn repeated<T: PartialEq>(values: &[(T, &Span)], shown: impl Fn(&T) -> String, faults: &mut Faults) {
    repeated_as(values, |value| format!("`{}` stands here twice", shown(value)), faults);
}

/// The same in these words, for values that are not shown.
fn repeated_as<T: PartialEq>(values: &[(T, &Span)], what: impl Fn(&T) -> String, faults: &mut Faults) {
    for (at, (value, span)) in values.iter().enumerate() {
        if let Some((_, first)) = values[..at].iter().find(|(earlier, _)| earlier == value) {
            faults.fault(span, what(value), "keep one of them").also(first, "the first");
        }
    }
}

/// A number of bytes as a length in memory.
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
