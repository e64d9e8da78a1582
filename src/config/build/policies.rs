//! `[policies.NAME]` and the inline policies of routes: what a token must say.
//!
//! A policy that would let any client of the issuer in is refused: it names an audience, or the clients.

use std::sync::Arc;

use super::issuers::{NEEDS, Raw};
use crate::config::declare::Field;
use crate::config::fault::{Faults, Span};
use crate::config::nearest::defined;
use crate::config::options::{self, Issuer};
use crate::config::read::{At, Text};
use crate::policy::dialect::{AccessIf, Dialect};
use crate::policy::issuer::IssuerId;
use crate::policy::permit::{Mode, Policy};

/// Builds one policy; `None` after reporting what is wrong with it.
pub(super) fn policy(
    name: &str,
    raw: &options::Policy,
    span: &Span,
    issuers: &[Raw],
    faults: &mut Faults,
) -> Option<Arc<Policy>> {
    let trusted = trusted(raw, span, issuers, faults);
    scopes(&raw.scopes, faults);
    scopes(&raw.any_scope, faults);
    empty(&raw.scopes, "scopes", OR_LEAVE_OUT, faults);
    empty(&raw.any_scope, "any_scope", OR_LEAVE_OUT, faults);
    // One of these two must be there, and say something.
    let help = if raw.client_ids.written {
        OR_LEAVE_OUT
    } else {
        "name what the issuer writes into `aud` for this API: `audience = [\"https://api.example.com\"]`"
    };
    empty(&raw.audience, "audience", help, faults);
    let help = if raw.audience.written { OR_LEAVE_OUT } else { "name who may call: `client_ids = [\"web\"]`" };
    empty(&raw.client_ids, "client_ids", help, faults);
    if raw.audience.is_absent() && raw.client_ids.is_absent() {
        let help = "add `audience = [\"https://api.example.com\"]`, what the issuer writes for this API; where it writes \
                    none, `client_ids = [\"web\"]`";
        faults.fault(
            span,
            "the policy has neither `audience` nor `client_ids`: it would take tokens for any API",
            help,
        );
    }
    if raw.mode.value == Some(Mode::Shadow) {
        let help = "watch `bearward_shadow_refusals_total`; once it stands still, write `mode = \"enforce\"`";
        faults.warn(
            &raw.mode.span,
            "nothing is refused where this policy is used: what it refuses is let through",
            help,
        );
    }
    for issuer in trusted.iter().flatten() {
        if let Some((name, issuer)) = issuers.get(issuer.0) {
            fits(raw, span, &name.value, issuer, faults);
        }
    }
    one_introspecting("policy", trusted.iter().flatten(), issuers, span, faults);
    let values = |field: &Field<Vec<At<Text>>>| field.value.iter().flatten().map(|at| at.value.0.clone()).collect();
    Some(Arc::new(Policy {
        name: name.to_owned(),
        issuers: trusted?,
        audience: values(&raw.audience),
        scopes: values(&raw.scopes),
        any_scope: values(&raw.any_scope),
        claims: raw.claims.value.as_ref().map(|rules| rules.0.clone()).unwrap_or_default(),
        client_ids: raw.client_ids.value.iter().flatten().map(|text| text.0.clone()).collect(),
        anonymous: raw.anonymous.value?,
        mode: raw.mode.value?,
    }))
}

/// An opaque token does not say whose it is, and must not be shown to anybody else: at most one issuer is asked.
pub(super) fn one_introspecting<'i>(
    what: &str,
    trusted: impl Iterator<Item = &'i IssuerId>,
    issuers: &[Raw],
    span: &Span,
    faults: &mut Faults,
) {
    let mut asked = trusted.filter_map(|id| issuers.get(id.0)).filter(|(_, raw)| !raw.introspection.is_absent());
    let (Some((first, one)), Some((second, other))) = (asked.next(), asked.next()) else { return };
    let fault = format!("the {what} takes opaque tokens of `{}` and of `{}`", first.value, second.value);
    let help =
        "an opaque token does not say whose it is, and would be shown to the wrong one: use a route for each issuer";
    let problem = faults.fault(span, fault, help);
    problem.also(&one.introspection.span, "one is asked here");
    problem.also(&other.introspection.span, "the other here");
}

fn trusted(raw: &options::Policy, span: &Span, issuers: &[Raw], faults: &mut Faults) -> Option<Vec<IssuerId>> {
    let names = || issuers.iter().map(|(name, _)| name.value.as_str());
    let Some(named) = &raw.issuers.value else {
        if raw.issuers.written {
            return None;
        }
        if let [_] = issuers {
            return Some(vec![IssuerId(0)]);
        }
        let (what, help) = match names().next() {
            None => (
                "the policy needs an issuer, and the file has none",
                "add `[issuers.main]` with its `issuer`".to_owned(),
            ),
            Some(first) => (
                "the policy does not say whose tokens it takes, and the file has several issuers",
                format!("add `issuers = [\"{first}\"]`; there are {}", names().collect::<Vec<_>>().join(", ")),
            ),
        };
        faults.fault(span, what, help);
        return None;
    };
    let help = match issuers {
        [(only, _)] => format!("name it, `issuers = [\"{}\"]`, or leave the option out for the only one", only.value),
        _ => format!("name those whose tokens are taken; there are {}", names().collect::<Vec<_>>().join(", ")),
    };
    empty(&raw.issuers, "issuers", &help, faults);
    let mut found = Vec::new();
    for At { value: Text(word), span } in named {
        match names().position(|name| name == word) {
            Some(at) if found.contains(&IssuerId(at)) => {
                faults.fault(span, format!("`{word}` stands here twice"), "keep one of them");
            }
            Some(at) => found.push(IssuerId(at)),
            None => {
                let help = defined(word, names(), "issuers", NEEDS);
                faults.fault(span, format!("no issuer is called `{word}`"), help);
            }
        }
    }
    Some(found)
}

/// What the tokens of one issuer demand of a policy.
fn fits(raw: &options::Policy, span: &Span, name: &str, issuer: &Issuer, faults: &mut Faults) {
    if issuer.accept_id_tokens.value == Some(true) && raw.audience.is_absent() {
        let help = "add `audience = [...]`: the ids of the clients whose ID tokens may call, and of no others";
        faults
            .fault(span, format!("the policy takes ID tokens of `{name}` and has no `audience`"), help)
            .also(&issuer.accept_id_tokens.span, "ID tokens are taken");
    }
    let Some(dialect) = dialect(issuer) else { return };
    if dialect.workload && raw.claims.value.as_ref().is_none_or(|rules| rules.0.is_empty()) {
        let help = "add `claims = { ... }` that names who may call, for example `claims = { \"/kubernetes.io/namespace\" = \"shop\" }`";
        let what =
            format!("the policy takes any workload's token: everybody can get one of `{name}` with this audience");
        faults.fault(span, what, help).also(&issuer.dialect.span, "a dialect of workloads");
    }
    if dialect.is_judged_by_audience() {
        client_as_audience(raw, span, name, issuer, dialect, faults);
    }
    if dialect.access == AccessIf::Never {
        let help = "take the tokens of an issuer of your own, which may log people in with that provider";
        faults.warn(span, format!("no token of `{name}` can pass (dialect `{}`)", dialect.name), help);
    }
}

/// Where the audience tells an access token from an ID token, the id of a client is none.
fn client_as_audience(
    raw: &options::Policy,
    span: &Span,
    name: &str,
    issuer: &Issuer,
    dialect: &Dialect,
    faults: &mut Faults,
) {
    let help =
        "name the API's own audience: an ID token has its client's id as audience, and these are told apart by it";
    if raw.audience.is_absent() {
        let what = format!("no token of `{name}` can pass: dialect `{}` needs an `audience`", dialect.name);
        faults.warn(span, what, help);
    }
    for At { value: audience, span } in raw.audience.value.iter().flatten() {
        if issuer.known_clients.value.iter().flatten().any(|client| client == audience) {
            let what = format!("`{}` is a known client of `{name}`: it never counts as an audience there", audience.0);
            faults.warn(span, what, help).also(&issuer.known_clients.span, "known clients");
        }
    }
}

fn dialect(issuer: &Issuer) -> Option<&'static Dialect> {
    issuer.dialect.value.filter(|_| !issuer.discriminator.written).map(|dialect| dialect.0)
}

/// RFC 6749 section 3.3: printable ASCII but for the blank, `"` and `\`.
pub(super) fn scopes(field: &Field<Vec<At<Text>>>, faults: &mut Faults) {
    for At { value: Text(scope), span } in field.value.iter().flatten() {
        if !scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            let split: Vec<_> = scope.split_whitespace().map(|scope| format!("{scope:?}")).collect();
            let help = if split.len() > 1 {
                format!("write each scope as a string of its own: [{}]", split.join(", "))
            } else {
                "write it as the issuer does: a scope has printable ASCII characters, and no `\"` and no `\\` among them".to_owned()
            };
            faults.fault(span, format!("`{scope}` is not one scope"), help);
        }
    }
}

fn empty<T>(field: &Field<Vec<T>>, name: &str, help: &str, faults: &mut Faults) {
    if field.value.as_ref().is_some_and(Vec::is_empty) {
        faults.fault(&field.span, format!("`{name}` is empty"), help);
    }
}

/// The cure of a list that need not be there.
const OR_LEAVE_OUT: &str = "name at least one, or leave the option out";
