//! Us as an OAuth client: the id, and how we prove it.

use std::path::Path;

use super::secret::secret;
use crate::config::declare::Field;
use crate::config::fault::Faults;
use crate::config::model::{Authentication, Client, Secret, SigningKey};
use crate::config::read::{AuthMethod, Hidden, Text};
use crate::config::signing_key::Unfit;
use crate::policy::jwt::Algorithm;

/// The options that say who we are, wherever they stand.
pub(super) struct Options<'r> {
    pub(super) client_id: &'r Field<Text>,
    pub(super) client_secret: &'r Field<Hidden>,
    pub(super) auth_method: &'r Field<AuthMethod>,
    pub(super) private_key: &'r Field<Hidden>,
    pub(super) kid: &'r Field<Text>,
    pub(super) alg: &'r Field<Algorithm>,
}

/// Builds the client; `None` after reporting what is wrong with it.
pub(super) fn client(raw: &Options<'_>, directory: &Path, faults: &mut Faults) -> Option<Client> {
    let method = raw.auth_method.value?;
    superfluous(raw, method, faults);
    let authentication = match method {
        AuthMethod::ClientSecretBasic => client_secret(raw, directory, faults).map(Authentication::Basic),
        AuthMethod::ClientSecretPost => client_secret(raw, directory, faults).map(Authentication::Post),
        AuthMethod::PrivateKeyJwt => private_key(raw, directory, faults),
        AuthMethod::None => Some(Authentication::None),
    };
    Some(Client { id: raw.client_id.value.as_ref()?.0.clone(), authentication: authentication? })
}

/// What is there for another method than the one that is used would be thought to be used.
fn superfluous(raw: &Options<'_>, method: AuthMethod, faults: &mut Faults) {
    let name = method.name();
    let mut unused = |written: bool, span, option: &str| {
        if written {
            let help = "remove it, or set the `auth_method` that it is for";
            faults.fault(span, format!("`{option}` is not used with `auth_method = \"{name}\"`"), help);
        }
    };
    if method != AuthMethod::PrivateKeyJwt {
        unused(raw.private_key.written, &raw.private_key.span, "private_key");
        unused(raw.kid.written, &raw.kid.span, "kid");
        unused(raw.alg.written, &raw.alg.span, "alg");
    }
    if matches!(method, AuthMethod::PrivateKeyJwt | AuthMethod::None) {
        unused(raw.client_secret.written, &raw.client_secret.span, "client_secret");
    }
}

fn client_secret(raw: &Options<'_>, directory: &Path, faults: &mut Faults) -> Option<Secret> {
    if raw.client_secret.is_absent() {
        let help = "add `client_secret = { file = \"...\" }`, or set `auth_method` to how the client proves who it is";
        faults.fault(&raw.client_secret.span, "the client has no `client_secret`", help);
        return None;
    }
    secret(raw.client_secret.value.as_ref()?, "client_secret", directory, faults).map(Secret::new)
}

fn private_key(raw: &Options<'_>, directory: &Path, faults: &mut Faults) -> Option<Authentication> {
    if raw.private_key.is_absent() {
        let help = "add `private_key = { file = \"client.pem\" }`: the key whose public half the issuer has";
        faults.fault(&raw.private_key.span, "`private_key_jwt` without a `private_key`", help);
        return None;
    }
    let key = secret(raw.private_key.value.as_ref()?, "private_key", directory, faults)?;
    let algorithm = raw.alg.value?;
    let kid = raw.kid.value.as_ref().map(|text| text.0.clone());
    let key = SigningKey::new(Secret::new(key), kid, algorithm);
    match key {
        Ok(key) => Some(Authentication::PrivateKey(key)),
        Err(Unfit::Algorithm) => {
            let help = "write what the key is for: RS256 to PS512, ES256, ES384 or EdDSA";
            faults.fault(
                &raw.alg.span,
                format!("`private_key_jwt` is not signed with {} here", algorithm.name()),
                help,
            );
            None
        }
        Err(Unfit::Key) => {
            let what = format!("this is no private key to sign {} with", algorithm.name());
            let help = "name a PEM file (PKCS#8) with the key that fits `alg`: RS256 to PS512, ES256, ES384 or EdDSA";
            faults.fault(&raw.private_key.span, what, help);
            None
        }
    }
}
