//! `[issuers.NAME]`: whose tokens are believed, by which evidence, and where the keys come from.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::introspection::introspection;
use super::{certificates, keys, positive};
use crate::config::fault::{Faults, Span};
use crate::config::model::{Issuer, KeySource};
use crate::config::options;
use crate::config::read::{At, Text};
use crate::policy;
use crate::policy::dialect::{AccessIf, Discriminator, Mark, Place, Words};
use crate::policy::introspection::Trust;
use crate::policy::issuer::Recognition;
use crate::policy::jwt::{Algorithm, media_type};

/// An issuer as the file has it.
pub(super) type Raw = (At<String>, options::Issuer);

/// What a table of one needs, for the cure where it is missing.
pub(super) const NEEDS: &str = "its `issuer`, as `iss` of its tokens has it";

/// Builds every issuer: where its keys come from, and what policy needs to know, at the same place of both lists.
pub(super) fn issuers(
    raw: &[Raw],
    directory: &Path,
    faults: &mut Faults,
) -> Option<(Vec<Issuer>, Vec<policy::issuer::Issuer>)> {
    distinct_spellings(raw, faults);
    distinct_snapshots(raw, directory, faults);
    let built: Vec<_> = raw.iter().map(|(name, raw)| issuer(&name.value, raw, directory, faults)).collect();
    built.into_iter().collect::<Option<Vec<_>>>().map(|pairs| pairs.into_iter().unzip())
}

/// A token names its issuer by `iss` alone: two issuers of one spelling could not be told apart.
fn distinct_spellings(raw: &[Raw], faults: &mut Faults) {
    let mut seen: Vec<(&str, &Span, &str)> = Vec::new();
    for (name, issuer) in raw {
        let own = issuer.issuer.value.iter().map(|text| (text, &issuer.issuer.span));
        let aliases = issuer.aliases.value.iter().flatten().map(|at| (&at.value, &at.span));
        for (Text(spelling), span) in own.chain(aliases) {
            if let Some((_, first, owner)) = seen.iter().find(|(earlier, _, _)| earlier == spelling) {
                let help = "an `iss` belongs to one issuer, once: remove one, or join the two tables";
                faults
                    .fault(span, format!("the issuer `{spelling}` is already there"), help)
                    .also(first, format!("in `{owner}`"));
            }
            seen.push((spelling, span, &name.value));
        }
    }
}

/// Two issuers that keep their keys in one file would find each other's at the next start.
fn distinct_snapshots(raw: &[Raw], directory: &Path, faults: &mut Faults) {
    let mut seen: Vec<(PathBuf, &Span, &str)> = Vec::new();
    for (name, issuer) in raw {
        let Some(field) = issuer.jwks.value.as_ref().map(|jwks| &jwks.snapshot) else { continue };
        let Some(path) = field.value.as_ref().map(|path| directory.join(&path.0)) else { continue };
        if let Some((_, first, owner)) = seen.iter().find(|(earlier, _, _)| *earlier == path) {
            let what = format!("the snapshot {} is another issuer's already", path.display());
            faults.fault(&field.span, what, "give each issuer a file of its own").also(first, format!("of `{owner}`"));
        }
        seen.push((path, &field.span, &name.value));
    }
}

fn issuer(
    name: &str,
    raw: &options::Issuer,
    directory: &Path,
    faults: &mut Faults,
) -> Option<(Issuer, policy::issuer::Issuer)> {
    leeway(raw, faults);
    names_itself(raw, faults);
    let recognition = recognition(raw, faults);
    let algorithms = algorithms(raw, faults);
    warnings(raw, faults);
    let jwks = raw.jwks.value.as_ref()?;
    cadence(jwks, faults);
    let (keys, hmac_secret) = if raw.hmac_secret.written {
        let secret = keys::hmac(raw, jwks, directory, faults);
        (secret.as_ref().map(|_| KeySource::Secret), secret)
    } else {
        (keys::keys(raw, jwks, directory, faults), None)
    };
    let tls = raw.tls.value.as_ref();
    let authorities = tls.and_then(|tls| certificates::authorities(&tls.ca, directory, faults));
    let introspection = introspection(raw, directory, faults);
    let own = raw.issuer.value.as_ref().map(|text| text.0.clone());
    let aliases = raw.aliases.value.iter().flatten().map(|at| at.value.0.clone());
    let source = Issuer {
        name: name.to_owned(),
        keys: keys?,
        bearer_file: jwks.bearer_file.value.as_ref().map(|path| directory.join(&path.0)),
        endpoints: keys::endpoints(raw, faults),
        authorities,
        allow_http: raw.allow_http.value?,
        required_for_ready: raw.required_for_ready.value?,
        refresh: jwks.refresh.value?,
        cooldown: jwks.cooldown.value?,
        max_stale: jwks.max_stale.value?,
        snapshot: jwks.snapshot.value.as_ref().map(|path| directory.join(&path.0)),
        introspection: introspection?,
    };
    let signer = policy::issuer::Issuer {
        name: name.to_owned(),
        spellings: std::iter::once(own?).chain(aliases).collect(),
        recognition: recognition?,
        algorithms: algorithms?,
        leeway: raw.leeway.value?.as_secs(),
        accept_id_tokens: raw.accept_id_tokens.value?,
        scope_claim: raw.scope_claim.value.as_ref().map(|text| text.0.clone()),
        known_clients: raw.known_clients.value.iter().flatten().map(|text| text.0.clone()).collect(),
        hmac_secret,
        introspection: match &raw.introspection.value {
            Some(raw) => Some(Trust { allow_untyped: raw.allow_untyped.value? }),
            None => None,
        },
    };
    Some((source, signer))
}

fn leeway(raw: &options::Issuer, faults: &mut Faults) {
    let Some(leeway) = raw.leeway.value else { return };
    if leeway.as_secs() > policy::issuer::Issuer::MAX_LEEWAY {
        let help = "write \"5m\" or less, and mend the clocks: a leeway lets expired tokens in";
        faults.fault(&raw.leeway.span, "`leeway` is more than 5m", help);
    } else if leeway.subsec_millis() != 0 {
        faults.fault(&raw.leeway.span, "`leeway` is not in whole seconds", "write for example \"1s\"");
    }
}

/// What is copied most easily is the address of the discovery document.
fn names_itself(raw: &options::Issuer, faults: &mut Faults) {
    let Some((own, _)) = raw.issuer.value.as_ref().and_then(|text| text.0.split_once("/.well-known/")) else { return };
    let help = format!("write what its document calls `issuer`: \"{own}\", or the same with a slash at its end");
    faults.fault(&raw.issuer.span, "this is the address of the discovery document, and no token says so", help);
}

fn recognition(raw: &options::Issuer, faults: &mut Faults) -> Option<Recognition> {
    if raw.discriminator.written && raw.dialect.written {
        let help = "a discriminator is a dialect of your own: keep one of them";
        faults
            .fault(&raw.discriminator.span, "`discriminator` beside `dialect`", help)
            .also(&raw.dialect.span, "the dialect");
    }
    if raw.discriminator.written {
        return discriminator(raw.discriminator.value.as_ref()?, &raw.discriminator.span, faults).map(Recognition::own);
    }
    raw.dialect.value.map(|dialect| Recognition::Dialect(dialect.0))
}

fn discriminator(raw: &options::Discriminator, span: &Span, faults: &mut Faults) -> Option<Discriminator> {
    let (claim, header) = (&raw.claim, &raw.header);
    let is_type = header.value.as_ref().is_some_and(|header| header.0 == "typ");
    // As the header's own value is read: a word in another case would never be found.
    let read = |text: &Text| if is_type { media_type(&text.0).into_owned() } else { text.0.clone() };
    let words = |list: &Option<Vec<Text>>| -> Words { list.iter().flatten().map(|text| read(text).into()).collect() };
    let names =
        |list: &Option<Vec<Text>>| -> Words { list.iter().flatten().map(|text| text.0.clone().into()).collect() };
    for (name, field) in
        [("access", &raw.access), ("deny", &raw.deny), ("require", &raw.require), ("forbid", &raw.forbid)]
    {
        if field.value.as_ref().is_some_and(Vec::is_empty) {
            let help = "name what tells the kinds apart, or leave it out";
            faults.fault(&field.span, format!("`{name}` is empty: it tells no token from another"), help);
        }
    }
    if claim.written && header.written {
        let help = "one of them tells the kinds apart; keep that one";
        faults.fault(&header.span, "`header` beside `claim`", help).also(&claim.span, "the claim");
    }
    let has_values = raw.access.written || raw.deny.written;
    let has_place = claim.written || header.written;
    if has_place && !has_values {
        let help = "add the values that mean an access token: `access = [\"access_token\"]`, or others: `deny = [\"id_token\"]`";
        faults.fault(span, "the discriminator names a mark, but none of its values", help);
    }
    if !has_place {
        for (name, field) in
            [("access", &raw.access), ("deny", &raw.deny)].into_iter().filter(|(_, field)| field.written)
        {
            let help = "add `claim = \"...\"` or `header = \"...\"`: where these values stand";
            faults.fault(&field.span, format!("`{name}` without a claim or header"), help);
        }
        if raw.matching.written && !has_values {
            faults.fault(&raw.matching.span, "`match` without a claim or header", "remove it");
        }
        if !has_values && raw.require.is_absent() && raw.forbid.is_absent() {
            let help = "say what an access token looks like: `{ claim = \"tokenName\", access = [\"access_token\"] }`";
            faults.fault(span, "the discriminator says nothing", help);
        }
    }
    let place = match (&claim.value, &header.value) {
        (Some(claim), _) => Some(Place::Claim(Cow::Owned(claim.0.clone()))),
        (None, Some(header)) => Some(Place::Header(Cow::Owned(header.0.clone()))),
        (None, None) => None,
    };
    let mark = match place {
        Some(place) => Some(Mark {
            place,
            access: words(&raw.access.value),
            deny: words(&raw.deny.value),
            compare: raw.matching.value?,
        }),
        None => None,
    };
    let group = |text: &Text| -> Words { text.0.split('|').map(|claim| Cow::Owned(claim.to_owned())).collect() };
    if raw.require.value.iter().flatten().any(|text| text.0.split('|').any(str::is_empty)) {
        faults.fault(&raw.require.span, "an empty name beside `|`", "write \"scp|roles\": either claim will do");
    }
    Some(Discriminator {
        mark,
        require: raw.require.value.iter().flatten().map(group).collect(),
        forbid: names(&raw.forbid.value),
    })
}

fn algorithms(raw: &options::Issuer, faults: &mut Faults) -> Option<Vec<Algorithm>> {
    let has_secret = raw.hmac_secret.written;
    let Some(named) = &raw.algorithms.value else {
        if raw.algorithms.written {
            return None;
        }
        if has_secret {
            let help = "add what the issuer signs with: `algorithms = [\"HS256\"]`";
            faults.fault(&raw.hmac_secret.span, "`hmac_secret` without `algorithms`", help);
        }
        return Some(Algorithm::ASYMMETRIC.to_vec());
    };
    if named.is_empty() {
        let help = "name what the issuer signs with, or leave the option out for the asymmetric ones";
        faults.fault(&raw.algorithms.span, "`algorithms` is empty: no token could pass", help);
    }
    for At { value, span } in named.iter().filter(|at| at.value.is_hmac() != has_secret) {
        let name = value.name();
        if has_secret {
            let help = "an issuer has public keys or a secret, never both: name HS256, HS384 or HS512, or remove `hmac_secret`";
            faults
                .fault(span, format!("{name} needs public keys, and this issuer has a secret"), help)
                .also(&raw.hmac_secret.span, "the secret");
        } else {
            let help = "an issuer with public keys never signs so: remove it; where the issuer has a shared secret instead, \
                        add `hmac_secret = { file = \"...\" }`";
            faults.fault(
                span,
                format!("{name} beside public keys: whoever knows a public key could sign with it"),
                help,
            );
        }
    }
    Some(named.iter().map(|at| at.value).collect())
}

fn cadence(jwks: &options::Jwks, faults: &mut Faults) {
    positive(&jwks.refresh, "refresh", "it would fetch without pause; the default is \"5m\"", faults);
    positive(&jwks.cooldown, "cooldown", "any stranger's token could cause a fetch; the default is \"10s\"", faults);
    if let (Some(refresh), Some(stale)) = (jwks.refresh.value, jwks.max_stale.value)
        && stale < refresh
    {
        let help = "keys would be dropped before they are fetched again: raise `max_stale`, or lower `refresh`";
        faults
            .fault(&jwks.max_stale.span, "`max_stale` is less than `refresh`", help)
            .also(&jwks.refresh.span, "refresh");
    }
}

/// What is allowed, and should be known.
fn warnings(raw: &options::Issuer, faults: &mut Faults) {
    if raw.accept_id_tokens.value == Some(true) {
        let what = "ID tokens of this issuer open the API: whoever gets one to log in somewhere may call it";
        let help = "only for issuers without access tokens, such as Dex; else leave `accept_id_tokens` out";
        faults.warn(&raw.accept_id_tokens.span, what, help);
    }
    let Some(dialect) = raw.dialect.value.filter(|_| !raw.discriminator.written).map(|name| name.0) else { return };
    let is_met = dialect.access == AccessIf::AtJwt && raw.accept_id_tokens.value == Some(true);
    if let Some(weakness) = dialect.weakness.filter(|_| !is_met) {
        let help = match dialect.access {
            AccessIf::Never => "trust an issuer of your own, which may log people in with this one",
            AccessIf::AtJwt => "set `accept_id_tokens = true`, and give each of its policies an `audience`",
            AccessIf::Marks(_) | AccessIf::Evidence { .. } => {
                "where the issuer can be made to write `typ: at+jwt` (RFC 9068), do that and use `rfc9068`"
            }
        };
        faults.warn(&raw.dialect.span, format!("dialect `{}`: {weakness}", dialect.name), help);
    }
    if dialect.name == "evidence" && raw.known_clients.value.as_ref().is_none_or(Vec::is_empty) {
        let help = "add `known_clients = [...]` with the ids of the issuer's OAuth clients: their ID tokens have them as audience";
        faults.warn(&raw.dialect.span, "dialect `evidence` without `known_clients`", help);
    }
}
