//! `[issuers.NAME.introspection]`: how an issuer is asked about opaque tokens.

use std::path::Path;
use std::time::Duration;

use super::client::{Options, client};
use super::{keys, length, positive};
use crate::config::fault::Faults;
use crate::config::model::{Endpoint, Introspection};
use crate::config::options;
use crate::policy::dialect::Dialect;

/// The longest time for which "not active" may stand: a token that is refused by it may just have been issued.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(10);

/// Builds it; `Some(None)` where the issuer is not asked.
pub(super) fn introspection(
    issuer: &options::Issuer,
    directory: &Path,
    faults: &mut Faults,
) -> Option<Option<Introspection>> {
    if issuer.introspection.is_absent() {
        return Some(None);
    }
    let raw = issuer.introspection.value.as_ref()?;
    positive(&raw.timeout, "timeout", "no answer could come in time; the default is \"2s\"", faults);
    positive(&raw.max_concurrent, "max_concurrent", "nothing could be asked; the default is 32", faults);
    if raw.negative_cache.value.is_some_and(|time| time > LONGEST_NEGATIVE) {
        let help = "write \"10s\" or less: a token that was asked about too early stays refused that long";
        faults.fault(&raw.negative_cache.span, "`negative_cache` is more than 10s", help);
    }
    without_introspection(issuer, faults);
    let endpoint = endpoint(issuer, raw, faults);
    let client = client(
        &Options {
            client_id: &raw.client_id,
            client_secret: &raw.client_secret,
            auth_method: &raw.auth_method,
            private_key: &raw.private_key,
            kid: &raw.kid,
            alg: &raw.alg,
        },
        directory,
        faults,
    );
    Some(Some(Introspection {
        endpoint: endpoint?,
        client: client?,
        timeout: raw.timeout.value?,
        max_concurrent: length(raw.max_concurrent.value?.into()),
        cache: raw.cache.value?,
        negative_cache: raw.negative_cache.value?,
    }))
}

fn endpoint(issuer: &options::Issuer, raw: &options::Introspection, faults: &mut Faults) -> Option<Endpoint> {
    if !raw.endpoint.written {
        let help = "say where it is asked: `endpoint = \"https://...\"` of its `introspection`";
        return keys::discovery_of(issuer, "introspection endpoint", help, faults).map(Endpoint::Discovered);
    }
    let url = raw.endpoint.value.clone()?;
    keys::encrypted(&url, &raw.endpoint.span, "endpoint", issuer.allow_http.value?, faults);
    Some(Endpoint::At(url))
}

/// Some products have no introspection: then nothing would ever be answered.
fn without_introspection(issuer: &options::Issuer, faults: &mut Faults) {
    let Some(dialect) = issuer.dialect.value.filter(|_| !issuer.discriminator.written) else { return };
    let Dialect { name, introspects, .. } = dialect.0;
    if !introspects {
        let help = "remove it, and have clients ask for a token with this API's audience: that is a JWT";
        faults.warn(&issuer.introspection.span, format!("issuers of dialect `{name}` have no introspection"), help);
    }
}
