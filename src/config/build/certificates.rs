//! Certificates, from the PEM files that hold them.

use std::path::Path;

use super::files;
use crate::config::authorities::Authorities;
use crate::config::declare::Field;
use crate::config::fault::Faults;
use crate::config::read::Text;

const CERTIFICATES: files::Kind = files::Kind { what: "the certificates", longest: 1 << 20, secret: false };

/// Reads the authorities of a `ca` option; `None` where it is not written, and after reporting why they cannot be had.
pub(super) fn authorities(field: &Field<Text>, directory: &Path, faults: &mut Faults) -> Option<Authorities> {
    let path = directory.join(&field.value.as_ref()?.0);
    let shown = path.display();
    let pem = files::read(&path, &CERTIFICATES, &field.span, faults)?;
    Authorities::parse(&path, &pem)
        .map_err(|why| {
            let help = "name the certificates of the authorities to trust, in PEM: `-----BEGIN CERTIFICATE-----`";
            faults.fault(&field.span, format!("{shown} {why}"), help);
        })
        .ok()
}
