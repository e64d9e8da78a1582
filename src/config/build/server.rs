//! `[server]`, `[admin]`, `[log]`, `[telemetry]`.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::Path;

use super::tls::tls;
use super::{length, positive, repeated};
use crate::config::fault::Faults;
use crate::config::model::{AccessLog, Admin, Drain, Limits, Log, Server, Traces};
use crate::config::options;
use crate::config::units::size_text;

/// The least `head_bytes`: what a browser with its cookies sends, and what HTTP servers commonly take.
const LEAST_HEAD: u64 = 8 << 10;
/// More workers than this is a slip of the pen.
const MOST_WORKERS: u32 = 1024;

pub(super) fn server(raw: &options::Server, directory: &Path, faults: &mut Faults) -> Option<Server> {
    let listen = raw.listen.value.as_ref().map(|listen| {
        let addresses: Vec<_> = listen.0.iter().map(|at| (at.value, &at.span)).collect();
        // Port 0 is a port of the system's choice: each one is another.
        let fixed: Vec<_> = addresses.iter().copied().filter(|(address, _)| address.port() != 0).collect();
        repeated(&fixed, ToString::to_string, faults);
        addresses.into_iter().map(|(address, _)| address).collect()
    });
    if raw.workers.value.is_some_and(|workers| workers > MOST_WORKERS) {
        let what = format!("`workers` is more than {MOST_WORKERS}");
        faults.fault(&raw.workers.span, what, "leave it out for one per core");
    }
    if raw.trusted_proxies.value.iter().flatten().any(|net| net.prefix_len() == 0) {
        let help = "name the networks of your own proxies";
        faults.warn(&raw.trusted_proxies.span, "every client is believed about its own address", help);
    }
    let nobody = raw.trusted_proxies.value.as_ref().map_or(!raw.trusted_proxies.written, Vec::is_empty);
    if raw.proxy_protocol.value == Some(true) && nobody {
        let help = "name the proxies that send it: `trusted_proxies = [\"10.0.0.0/8\"]`";
        let what = "`proxy_protocol` without `trusted_proxies`: it is believed of them only, so nobody could connect";
        faults.fault(&raw.proxy_protocol.span, what, help);
    }
    let tls = tls(raw, directory, faults);
    let limits = limits(raw.limits.value.as_ref()?, faults);
    let drain = raw.drain.value.as_ref()?;
    Some(Server {
        listen: listen?,
        tls: tls?,
        proxy_protocol: raw.proxy_protocol.value?,
        trusted_proxies: raw.trusted_proxies.value.clone().unwrap_or_default(),
        workers: workers(raw.workers.value?),
        drain: Drain { delay: drain.delay.value?, timeout: drain.timeout.value? },
        limits: limits?,
    })
}

fn limits(raw: &options::Limits, faults: &mut Faults) -> Option<Limits> {
    positive(&raw.connections, "connections", "no client could connect; the default is 20000", faults);
    positive(&raw.header_timeout, "header_timeout", "no head could arrive in time; the default is \"10s\"", faults);
    positive(&raw.idle_timeout, "idle_timeout", "no connection could be used twice; the default is \"75s\"", faults);
    positive(&raw.token_bytes, "token_bytes", "no token could pass; the default is \"16KiB\"", faults);
    if let Some(head) = raw.head_bytes.value.filter(|head| head.0 < LEAST_HEAD) {
        let what = format!("`head_bytes` is {}, less than 8KiB", size_text(head.0));
        faults.fault(&raw.head_bytes.span, what, "write \"8KiB\" or more; the default is \"32KiB\"");
    }
    if let (Some(token), Some(head)) = (raw.token_bytes.value, raw.head_bytes.value)
        && token.0 >= head.0
    {
        let what = format!(
            "`token_bytes` is {}: no client can send such a token in a head of {}",
            size_text(token.0),
            size_text(head.0)
        );
        let help = "raise `head_bytes` beyond it, or lower `token_bytes`: the head holds the token and more";
        let warning = faults.warn(&raw.token_bytes.span, what, help);
        if raw.head_bytes.written {
            warning.also(&raw.head_bytes.span, "the head");
        }
    }
    Some(Limits {
        connections: length(raw.connections.value?.into()),
        head_bytes: length(raw.head_bytes.value?.0),
        header_timeout: raw.header_timeout.value?,
        idle_timeout: raw.idle_timeout.value?,
        body_bytes: raw.body_bytes.value?.0,
        token_bytes: length(raw.token_bytes.value?.0),
    })
}

pub(super) fn admin(raw: &options::Admin, server: Option<&options::Server>, faults: &mut Faults) -> Option<Admin> {
    let listen = raw.listen.value?;
    let mut listeners = server.and_then(|server| server.listen.value.as_ref()).into_iter().flat_map(|listen| &listen.0);
    if let Some(public) = listeners.find(|public| overlap(public.value, listen)) {
        let help = "give `listen` of [admin] an address and port of its own: it answers without a token";
        let what = format!("the admin listener is on a public address, {listen}");
        // Where it has its default, the public listener is the one that was written.
        if raw.listen.written {
            faults.fault(&raw.listen.span, what, help).also(&public.span, "public");
        } else {
            faults.fault(&public.span, what, help);
        }
    }
    Some(Admin { listen })
}

pub(super) fn log(raw: &options::Log) -> Option<Log> {
    let access = raw.access.value.as_ref()?;
    Some(Log {
        format: raw.format.value?,
        level: raw.level.value?,
        access: AccessLog { sample: access.sample.value?.0, refused: access.refused.value? },
    })
}

pub(super) fn traces(raw: &options::Telemetry, faults: &mut Faults) -> Option<Traces> {
    if !cfg!(feature = "otlp") && raw.otlp.value.is_some() {
        let help = "leave it out, or build with `--features otlp`, which is on by default";
        faults.fault(&raw.otlp.span, "this build cannot send spans", help);
    }
    Some(Traces { otlp: raw.otlp.value.clone(), sample: raw.sample.value?.0 })
}

/// Whether a client of one could reach the other. Port 0 is a port of the system's choice: each one is another.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// One per core where the file says 0.
fn workers(wanted: u32) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        wanted => length(wanted.into()),
    }
}
