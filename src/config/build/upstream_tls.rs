//! `tls` of an upstream.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::ServerName;

use super::certificates::{authorities, certificate};
use crate::config::declare::Field;
use crate::config::fault::{Faults, Span};
use crate::config::model::{Address, Certificate, Scheme, Trust, UpstreamTls};
use crate::config::options;
use crate::config::read::Text;
use crate::config::upstream_tls::system_roots;

/// Whom the system trusts: read once, where somebody asks.
#[derive(Default)]
pub(super) struct System(OnceCell<Result<Arc<RootCertStore>, String>>);

impl System {
    fn roots(&self, span: &Span, faults: &mut Faults) -> Option<Arc<RootCertStore>> {
        let roots = self.0.get_or_init(system_roots).clone().map_err(|why| {
            let help = "install its authorities (Debian's package is ca-certificates), or name one: `tls = { ca = \"ca.crt\" }`";
            faults.fault(span, format!("the system trusts no authority{why}"), help);
        });
        roots.ok()
    }
}

/// TLS to an https upstream: `Some(None)` to another, `None` after reporting faults.
pub(super) fn tls(
    address: &Address,
    raw: &options::Upstream,
    system: &System,
    directory: &Path,
    faults: &mut Faults,
) -> Option<Option<UpstreamTls>> {
    let Address::Host { scheme: Scheme::Https, host, .. } = address else {
        if !raw.tls.written {
            return Some(None);
        }
        let help = "write `https://` in `url`, or remove `tls`";
        faults.fault(&raw.tls.span, format!("`tls` for {address}, which does not speak TLS"), help);
        return None;
    };
    let options = match &raw.tls.value {
        None if raw.tls.written => return None,
        options => options.as_ref(),
    };
    let name = name(host, raw, faults);
    let shown = options.map_or(Some(None), |options| shown(options, directory, faults));
    let trust = match options.filter(|options| options.ca.written) {
        Some(options) => authorities(&options.ca, directory, faults).map(Trust::Authorities),
        None => system.roots(&raw.url.span, faults).map(Trust::System),
    };
    let tls = UpstreamTls::new(name?, trust?, shown?).map_err(|why| {
        faults.fault(&raw.url.span, format!("TLS is not possible: {why}"), "this is a defect of ours");
    });
    tls.ok().map(Some)
}

/// Who the upstream must prove to be.
fn name(host: &str, raw: &options::Upstream, faults: &mut Faults) -> Option<ServerName<'static>> {
    let (text, span) = match raw.tls.value.as_ref().map(|options| &options.name) {
        Some(Field { value: Some(Text(name)), span, .. }) => (name.as_str(), span),
        Some(Field { written: true, .. }) => return None,
        Some(Field { .. }) | None => (host.trim_matches(['[', ']']), &raw.url.span),
    };
    let name = ServerName::try_from(text.to_owned()).map_err(|_| {
        let help = "write a name of DNS, or an address, without a port: `tls = { name = \"orders.internal\" }`";
        faults.fault(span, format!("no certificate can be for `{text}`"), help);
    });
    name.ok()
}

/// What we show of ourselves: `Some(None)` is nothing, `None` after reporting faults.
fn shown(raw: &options::UpstreamTls, directory: &Path, faults: &mut Faults) -> Option<Option<Certificate>> {
    match (raw.certificate.written, raw.private_key.written) {
        (false, false) => Some(None),
        (true, true) => certificate(&raw.certificate, &raw.private_key, directory, faults).map(Some),
        (true, false) => {
            let help = "add `private_key`: a certificate proves nothing without it";
            faults.fault(&raw.certificate.span, "`certificate` without `private_key`", help);
            None
        }
        (false, true) => {
            let help = "add `certificate`, which says whose key it is";
            faults.fault(&raw.private_key.span, "`private_key` without `certificate`", help);
            None
        }
    }
}
