//! `tls` and `client_certificates` of `[server]`.

use std::path::Path;

use super::certificates::{authorities, certificate};
use super::repeated;
use crate::config::fault::Faults;
use crate::config::model::{Certificate, ClientCertificates, Tls};
use crate::config::options;
use crate::config::read::{At, OneOrMany};

/// How clients are spoken to: `Some(None)` is in clear, `None` after reporting faults.
pub(super) fn tls(raw: &options::Server, directory: &Path, faults: &mut Faults) -> Option<Option<Tls>> {
    let certificates = raw.tls.value.as_ref().map(|raw| certificates(raw, directory, faults));
    let clients = raw.client_certificates.value.as_ref().map(|raw| {
        let authorities = authorities(&raw.ca, directory, faults);
        Some(ClientCertificates { authorities: authorities?, mode: raw.mode.value? })
    });
    if !raw.tls.written {
        if raw.client_certificates.written {
            let help = "add `tls = [{ certificate = \"tls.crt\", private_key = \"tls.key\" }]`";
            let what = "`client_certificates` without `tls`: clients show certificates within TLS only";
            faults.fault(&raw.client_certificates.span, what, help);
            return None;
        }
        return Some(None);
    }
    let clients = if raw.client_certificates.written { Some(clients??) } else { None };
    Some(Some(Tls { certificates: certificates??, clients }))
}

fn certificates(
    raw: &OneOrMany<options::ServerCertificate>,
    directory: &Path,
    faults: &mut Faults,
) -> Option<Vec<Certificate>> {
    let file = |pair: &options::ServerCertificate| pair.certificate.value.as_ref().map(|file| file.0.clone());
    let named: Vec<_> =
        raw.0.iter().filter_map(|pair| Some((file(&pair.value)?, &pair.value.certificate.span))).collect();
    repeated(&named, Clone::clone, faults);
    let built: Vec<_> = raw.0.iter().map(|pair| server_certificate(pair, directory, faults)).collect();
    built.into_iter().collect()
}

fn server_certificate(
    pair: &At<options::ServerCertificate>,
    directory: &Path,
    faults: &mut Faults,
) -> Option<Certificate> {
    let options::ServerCertificate { certificate: file, private_key } = &pair.value;
    let built = certificate(file, private_key, directory, faults)?;
    if built.pair.facts().hosts.is_empty() {
        let what = format!("the certificate {} names no host (subjectAltName)", built.file);
        let help = "clients refuse it (RFC 9110 section 4.3.4): have it issued for the names that they use";
        faults.warn(&file.span, what, help);
    }
    Some(built)
}
