//! Certificates, from the PEM files that hold them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::files::{self, Kind};
use crate::config::authorities::Authorities;
use crate::config::certified::{Certified, CertifiedFault};
use crate::config::declare::Field;
use crate::config::facts::moment;
use crate::config::fault::Faults;
use crate::config::model::Certificate;
use crate::config::read::Text;

/// Reads the authorities of a `ca` option; `None` where it is not written, and after reporting why they cannot be had.
pub(super) fn authorities(field: &Field<Text>, directory: &Path, faults: &mut Faults) -> Option<Authorities> {
    let path = directory.join(&field.value.as_ref()?.0);
    let shown = path.display();
    let pem = files::read(&path, &AUTHORITIES, &field.span, faults)?;
    Authorities::parse(&path, &pem)
        .map_err(|why| {
            let help = "name the certificates of the authorities to trust, in PEM: `-----BEGIN CERTIFICATE-----`";
            faults.fault(&field.span, format!("{shown} {why}"), help);
        })
        .ok()
}

/// Reads a certificate and its private key; `None` after reporting what is wrong with them.
///
/// An expired one is no fault: clients may still take it, and to refuse the whole file would make a late renewal an outage.
pub(super) fn certificate(
    certificate: &Field<Text>,
    private_key: &Field<Text>,
    directory: &Path,
    faults: &mut Faults,
) -> Option<Certificate> {
    let paths = [certificate, private_key].map(|field| Some(directory.join(&field.value.as_ref()?.0)));
    let read = |path: &Option<PathBuf>, kind: &Kind, field: &Field<Text>, faults: &mut Faults| {
        files::read(path.as_ref()?, kind, &field.span, faults)
    };
    let chain = read(&paths[0], &CERTIFICATE, certificate, faults);
    let key = read(&paths[1], &PRIVATE_KEY, private_key, faults);
    let [Some(chain_path), Some(key_path)] = &paths else { return None };
    let pair = Certified::parse(&chain?, &key?).map_err(|fault| match fault {
        CertifiedFault::Certificate(why) => {
            let help = "name a PEM file: first the certificate of the private key, then those that lead to its root";
            faults.fault(&certificate.span, format!("{} {why}", chain_path.display()), help);
        }
        CertifiedFault::Key(why) => {
            let help = "name the PEM file of the private key (ECDSA, RSA or Ed25519), without a password";
            faults.fault(&private_key.span, format!("{} {why}", key_path.display()), help);
        }
        CertifiedFault::Mismatch => {
            let what = format!("{} holds another key than the certificate's", key_path.display());
            let help = "name the pair that was issued together; the key's certificate is the first of its file";
            faults.fault(&private_key.span, what, help).also(&certificate.span, "the certificate");
        }
    });
    let pair = pair.ok()?;
    let (shown, facts, now) = (chain_path.display(), pair.facts(), SystemTime::now());
    if facts.not_after < now {
        let what = format!("the certificate {shown} expired at {}", moment(facts.not_after));
        faults.warn(&certificate.span, what, "it is shown and will be refused: renew it");
    } else if now < facts.not_before {
        let what = format!("the certificate {shown} is not valid before {}", moment(facts.not_before));
        let help = "it is shown and will be refused until then: check the clock, or keep the one before it";
        faults.warn(&certificate.span, what, help);
    }
    Some(Certificate { file: certificate.value.as_ref()?.0.clone(), pair })
}

/// Whose certificates are believed.
const AUTHORITIES: Kind = Kind { what: "the certificates", longest: 1 << 20, secret: false };
/// The public half.
const CERTIFICATE: Kind = Kind { what: "the certificate", longest: 1 << 20, secret: false };
/// The half that nobody else may have.
const PRIVATE_KEY: Kind = Kind { what: "the private key", longest: 64 << 10, secret: true };
