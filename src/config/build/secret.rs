//! Secrets, from the file or environment variable that holds them.

use std::path::Path;

use super::{files, issuers};
use crate::config::fault::{Faults, Span};
use crate::config::model::{Client, Issuer, Session};
use crate::config::read::Hidden;
use crate::policy;
use crate::policy::jwt::HmacSecret;

const SECRET: files::Kind = files::Kind { what: "the secret's file", longest: 64 << 10, secret: true };

/// Reads a secret; `None` after reporting why it cannot be had.
pub(super) fn secret(Hidden(raw): &Hidden, name: &str, directory: &Path, faults: &mut Faults) -> Option<Vec<u8>> {
    match (&raw.file.value, &raw.env.value) {
        (Some(_), Some(_)) => {
            let what = format!("`{name}` names both a file and an environment variable");
            faults.fault(&raw.env.span, what, "keep one of them").also(&raw.file.span, "the file");
            None
        }
        (Some(file), None) => from_file(&directory.join(&file.0), &raw.file.span, faults),
        (None, Some(variable)) => from_environment(&variable.0, &raw.env.span, faults),
        // It was reported when it was read.
        (None, None) => None,
    }
}

fn from_file(path: &Path, span: &Span, faults: &mut Faults) -> Option<Vec<u8>> {
    let mut bytes = files::read(path, &SECRET, span, faults)?;
    // One final newline is an editor's, not the secret's.
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.is_empty() {
        let help = "write the secret into it, or see why whoever should have done so has not";
        faults.fault(span, format!("the secret's file {} is empty", path.display()), help);
        return None;
    }
    Some(bytes)
}

fn from_environment(variable: &str, span: &Span, faults: &mut Faults) -> Option<Vec<u8>> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty());
    if value.is_none() {
        let help = "set it for the gateway's process, or name a file with `{ file = \"...\" }`";
        faults.fault(span, format!("the environment variable {variable} is not set"), help);
    }
    value.map(|value| value.into_encoded_bytes())
}

/// Reports a secret that access tokens are signed with and that is a client's, too: the client could sign its own.
pub(super) fn no_client_mints(
    raw: &[issuers::Raw],
    (issuers, signers): (&[Issuer], &[policy::issuer::Issuer]),
    sessions: &[Session],
    faults: &mut Faults,
) {
    let introspecting = issuers.iter().filter_map(|issuer| Some(&issuer.introspection.as_ref()?.client));
    let clients: Vec<&Client> = introspecting.chain(sessions.iter().map(|session| &session.client)).collect();
    for ((_, raw), signer) in raw.iter().zip(signers) {
        let Some(signs) = &signer.hmac_secret else { continue };
        let is_it = |client: &&&Client| {
            client.authentication.secret().is_some_and(|secret| HmacSecret::new(secret.reveal()) == *signs)
        };
        if let Some(client) = clients.iter().find(is_it) {
            let what = format!(
                "`hmac_secret` is the secret of the client `{}`, which could sign tokens of its own",
                client.id
            );
            let help =
                "have the issuer sign access tokens with a secret that nobody else has, or better with a key pair";
            faults.fault(&raw.hmac_secret.span, what, help);
        }
    }
}
