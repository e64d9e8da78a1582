//! Options of which the value is a table of its own kind: secrets, claims, identity headers, parameters, a route's policy.

use serde_json::json;
use toml::de::DeValue;

use super::{At, members, string};
use crate::config::declare::{Opt, Read, Value, mismatch};
use crate::config::fault::{Faults, Span};
use crate::config::options::{Policy, Secret};
use crate::config::schema::{self, Schema};
use crate::policy::claims::ClaimPath;
use crate::policy::permit::{Requirement, Scalar};

/// A secret that stands elsewhere. Written here in clear, it is refused and masked.
#[derive(Debug)]
pub(in crate::config) struct Hidden(pub(in crate::config) Secret);

/// The claims a policy asks for.
#[derive(Debug)]
pub(in crate::config) struct ClaimRules(pub(in crate::config) Vec<Requirement>);

/// The headers that tell an upstream who calls: name and claim.
#[derive(Debug)]
pub(in crate::config) struct ForwardedClaims(pub(in crate::config) Vec<(At<String>, ClaimPath)>);

/// Parameters of an authorization request: name and value.
#[derive(Debug)]
pub(in crate::config) struct Parameters(pub(in crate::config) Vec<(At<String>, String)>);

/// What a route says of its policy.
#[derive(Debug)]
pub(in crate::config) enum PolicyChoice {
    /// No credential is looked at.
    Public,
    /// The policies of these names, at least one.
    Named(Vec<At<String>>),
    /// Written in place.
    Inline(Box<Policy>, Span),
}

impl Read for Hidden {
    const EXPECTED: &'static str = "a table that names a file or an environment variable";
    const OPTIONS: &'static [Opt] = Secret::OPTIONS;
    const HIDDEN: bool = true;
    fn schema() -> Schema {
        let mut schema = Secret::schema();
        schema["minProperties"] = json!(1);
        schema["maxProperties"] = json!(1);
        schema
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            faults.mask(&value.span());
            let what = format!("`{}` holds the secret itself, and everybody who may read the file reads it", opt.name);
            let help = format!("put it in a file or an environment variable: {}", elsewhere(opt));
            faults.fault(&value.span(), what, help);
            return None;
        };
        if table.is_empty() {
            let help = format!("write {}", elsewhere(opt));
            let what = format!("`{}` names neither a file nor an environment variable", opt.name);
            faults.fault(&value.span(), what, help);
        }
        for (key, value) in table {
            if !matches!(key.get_ref().as_ref(), "file" | "env") {
                faults.mask(&value.span());
            }
        }
        Secret::read(value, opt, faults).map(Self)
    }
}

/// How a secret is named: one, or a list of them where the option is one.
fn elsewhere(opt: &Opt) -> String {
    let listed = (opt.schema)()["type"] == "array";
    let [open, close] = if listed { ["[", "]"] } else { ["", ""] };
    let named = |place: &str| format!("`{} = {open}{{ {place} }}{close}`", opt.name);
    format!("{} or {}", named("file = \"...\""), named("env = \"NAME\""))
}

impl Read for PolicyChoice {
    const EXPECTED: &'static str = "the name of a policy, a list of names, \"public\", or an inline table";
    fn schema() -> Schema {
        let name = json!({ "type": "string" });
        schema::either([name.clone(), json!({ "type": "array", "items": name, "minItems": 1 }), Policy::schema()])
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => {
                Policy::read(value, opt, faults).map(|policy| Self::Inline(Box::new(policy), value.span()))
            }
            DeValue::String(name) if name == "public" => Some(Self::Public),
            DeValue::String(name) => Some(Self::Named(vec![At { value: name.to_string(), span: value.span() }])),
            DeValue::Array(names) => several(names, value, opt, faults),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
                mismatch(value, opt, Self::EXPECTED, faults);
                None
            }
        }
    }
}

/// Several policies, each by its name.
fn several(names: &[Value<'_>], value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<PolicyChoice> {
    let mut named = Vec::new();
    for name in names {
        match name.get_ref().as_str() {
            Some("public") => {
                let help = "write `policy = \"public\"` alone; to let in who sends no credential beside those whose token is \
                            good, set `anonymous = true` in a policy";
                faults.fault(
                    &name.span(),
                    "`public` cannot stand beside policies: no credential is looked at there",
                    help,
                );
            }
            Some(text) => named.push(At { value: text.to_owned(), span: name.span() }),
            None => {
                let what = format!("each of several in `{}` must be the name of a policy", opt.name);
                faults.fault(&name.span(), what, "write it as `[policies.NAME]` and name it here");
            }
        }
    }
    if names.is_empty() {
        faults.fault(&value.span(), format!("`{}` is an empty list", opt.name), opt.help());
    }
    (named.len() == names.len() && !named.is_empty()).then_some(PolicyChoice::Named(named))
}

impl Read for ForwardedClaims {
    const EXPECTED: &'static str = "a table of header = claim";
    fn schema() -> Schema {
        let name = schema::text("^[A-Za-z0-9-]+$");
        json!({ "type": "object", "propertyNames": name, "additionalProperties": ClaimPath::schema() })
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let mut headers = Vec::new();
        for (header, span, claim) in members(value, opt, Self::EXPECTED, faults)? {
            if let Some(claim) = ClaimPath::read(claim, opt, faults) {
                headers.push((At { value: header.to_owned(), span }, claim));
            }
        }
        Some(Self(headers))
    }
}

impl Read for Parameters {
    const EXPECTED: &'static str = "a table of parameter = value";
    fn schema() -> Schema {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let mut parameters = Vec::new();
        for (name, span, value) in members(value, opt, Self::EXPECTED, faults)? {
            if let Some(value) = string(value, opt, "a table of strings", faults) {
                parameters.push((At { value: name.to_owned(), span }, value.to_owned()));
            }
        }
        Some(Self(parameters))
    }
}

impl Read for ClaimPath {
    const EXPECTED: &'static str = "the name of a claim";
    fn schema() -> Schema {
        json!({ "type": "string", "minLength": 1 })
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let text = string(value, opt, Self::EXPECTED, faults)?;
        claim_path(text, &value.span(), faults)
    }
}

impl Read for ClaimRules {
    const EXPECTED: &'static str = "a table of claim = value, or claim = [values]";
    fn schema() -> Schema {
        let any_of = json!({ "type": "array", "items": Scalar::schema(), "minItems": 1 });
        let rule = schema::either([Scalar::schema(), any_of]);
        json!({ "type": "object", "propertyNames": ClaimPath::schema(), "additionalProperties": rule })
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let mut rules = Vec::new();
        for (claim, span, wanted) in members(value, opt, Self::EXPECTED, faults)? {
            let claim = claim_path(claim, &span, faults);
            let any_of = match wanted.get_ref() {
                DeValue::Array(_) => Vec::<Scalar>::read(wanted, opt, faults),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Table(_) => Scalar::read(wanted, opt, faults).map(|one| vec![one]),
            };
            let (Some(claim), Some(any_of)) = (claim, any_of) else { continue };
            if any_of.is_empty() {
                let help = "name the values of which the claim must have one, or leave the claim out";
                faults.fault(&wanted.span(), "an empty list: no token could pass", help);
            }
            rules.push(Requirement { claim, any_of });
        }
        Some(Self(rules))
    }
}

impl Read for Scalar {
    const EXPECTED: &'static str = "a string, a number, or true or false";
    fn schema() -> Schema {
        json!({ "type": ["string", "number", "boolean"] })
    }

    fn read(value: &Value<'_>, _: &Opt, faults: &mut Faults) -> Option<Self> {
        let number = |text: &str| text.parse::<serde_json::Number>().ok().map(Self::Number);
        let found = match value.get_ref() {
            DeValue::String(text) => Some(Self::String(text.to_string())),
            DeValue::Boolean(truth) => Some(Self::Bool(*truth)),
            DeValue::Integer(whole) => {
                i64::from_str_radix(whole.as_str(), whole.radix()).ok().map(|n| Self::Number(n.into()))
            }
            DeValue::Float(fraction) => number(fraction.as_str()),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
        };
        if found.is_none() {
            let help = "a claim within another is named by the way to it, in quotes: `\"/realm_access/roles\" = \"ops\"`; so is one \
                        with a dot in its name: `\"/kubernetes.io/namespace\" = \"shop\"`";
            faults.fault(&value.span(), format!("a claim's value must be {}", Self::EXPECTED), help);
        }
        found
    }
}

fn claim_path(text: &str, span: &Span, faults: &mut Faults) -> Option<ClaimPath> {
    ClaimPath::parse(text)
        .map_err(|why| {
            let help = "write a claim's name, or a JSON Pointer that begins with `/`: \"/realm_access/roles\"";
            faults.fault(span, format!("`{text}` names no claim: {why}"), help);
        })
        .ok()
}
