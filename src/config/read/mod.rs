//! How each type of option is read from the file.
//!
//! A reader says whether the one value is well formed; whether the values fit each other is judged in
//! [`build`](super::build). Each adds what is wrong to the faults and goes on: of a list every element is looked at.

mod forms;
mod tables;
mod words;

use serde_json::json;
use toml::de::DeValue;

use super::declare::{Opt, Read, Value, mismatch};
use super::fault::{Faults, Span};
use super::schema::{self, Schema};

pub(super) use self::forms::{NAME_HELP, Origin, PageOrigin, Text, is_name, secured};
pub(super) use self::tables::{ClaimRules, ForwardedClaims, Hidden, Parameters, PolicyChoice};
pub(super) use self::words::{AuthMethod, DialectName, EncodedSlash, PreflightRule};
pub use self::words::{Authorization, ClientCertificateMode, HostField, LogFormat, LogLevel, RefusalLog};

/// A value with its place, where a later step may have to point at it.
#[derive(Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// One value, or a list of at least one.
#[derive(Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<At<T>>);

/// A share, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share(pub(super) f64);

/// A table per name, in the order of the file.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) Vec<(At<String>, T)>);

impl Read for bool {
    const EXPECTED: &'static str = "true or false";
    fn schema() -> Schema {
        json!({ "type": "boolean" })
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            mismatch(value, opt, Self::EXPECTED, faults);
        }
        found
    }
}

impl Read for u32 {
    const EXPECTED: &'static str = "a whole number, 0 or more";
    fn schema() -> Schema {
        json!({ "type": "integer", "minimum": 0, "maximum": Self::MAX })
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let DeValue::Integer(number) = value.get_ref() else {
            mismatch(value, opt, Self::EXPECTED, faults);
            return None;
        };
        let found = Self::from_str_radix(number.as_str(), number.radix()).ok();
        if found.is_none() {
            let what = format!("`{}` must be from 0 to {}", opt.name, Self::MAX);
            faults.fault(&value.span(), what, opt.help());
        }
        found
    }
}

impl Read for Share {
    const EXPECTED: &'static str = "a number from 0.0 to 1.0";
    fn schema() -> Schema {
        json!({ "type": "number", "minimum": 0, "maximum": 1 })
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let found = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            DeValue::String(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                mismatch(value, opt, Self::EXPECTED, faults);
                return None;
            }
        };
        let share = found.filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            faults.fault(&value.span(), format!("`{}` must be {}", opt.name, Self::EXPECTED), opt.help());
        }
        share.map(Self)
    }
}

impl<T: Read> Read for At<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const HIDDEN: bool = T::HIDDEN;
    fn schema() -> Schema {
        T::schema()
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        T::read(value, opt, faults).map(|read| Self { value: read, span: value.span() })
    }
}

impl<T: Read> Read for Vec<T> {
    const EXPECTED: &'static str = "a list";
    const OPTIONS: &'static [Opt] = T::OPTIONS;
    const HIDDEN: bool = T::HIDDEN;
    fn schema() -> Schema {
        json!({ "type": "array", "items": T::schema() })
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let DeValue::Array(list) = value.get_ref() else {
            if Self::HIDDEN {
                faults.mask(&value.span());
            }
            match value.get_ref().as_str().filter(|_| !Self::HIDDEN) {
                Some(text) => {
                    let items = text.split([' ', ',']).filter(|item| !item.is_empty()).map(|item| format!("{item:?}"));
                    let list = items.collect::<Vec<_>>().join(", ");
                    let help = format!("write it in brackets: `{} = [{list}]`", opt.name);
                    faults.fault(&value.span(), format!("`{}` must be a list, not a string", opt.name), help);
                }
                None => mismatch(value, opt, Self::EXPECTED, faults),
            }
            return None;
        };
        let read: Self = list.iter().filter_map(|element| T::read(element, opt, faults)).collect();
        // A list of which nothing could be read is not an empty list: that would bring a second, wrong report.
        (list.is_empty() || !read.is_empty()).then_some(read)
    }
}

impl<T: Read> Read for OneOrMany<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const OPTIONS: &'static [Opt] = T::OPTIONS;
    fn schema() -> Schema {
        schema::either([T::schema(), json!({ "type": "array", "items": T::schema(), "minItems": 1 })])
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        if !value.get_ref().is_array() {
            return At::read(value, opt, faults).map(|one| Self(vec![one]));
        }
        let many = Vec::<At<T>>::read(value, opt, faults)?;
        if many.is_empty() {
            faults.fault(&value.span(), format!("`{}` is an empty list", opt.name), opt.help());
            return None;
        }
        Some(Self(many))
    }
}

impl<T: Read> Read for Named<T> {
    const EXPECTED: &'static str = "a table of tables";
    const OPTIONS: &'static [Opt] = T::OPTIONS;
    fn schema() -> Schema {
        json!({ "type": "object", "propertyNames": forms::name_schema(), "additionalProperties": T::schema() })
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let mut entries = Vec::new();
        for (name, span, body) in members(value, opt, "a table per name", faults)? {
            if !is_name(name) {
                let what = format!("`{name}` cannot be a name: it becomes the label of a metric");
                faults.fault(&span, what, NAME_HELP);
            }
            if let Some(body) = T::read(body, opt, faults) {
                entries.push((At { value: name.to_owned(), span }, body));
            }
        }
        Some(Self(entries))
    }
}

/// The entries of a table whose keys are the user's, in the order of the file.
fn members<'v, 'i>(
    value: &'v Value<'i>,
    opt: &Opt,
    expected: &str,
    faults: &mut Faults,
) -> Option<Vec<(&'v str, Span, &'v Value<'i>)>> {
    let DeValue::Table(table) = value.get_ref() else {
        mismatch(value, opt, expected, faults);
        return None;
    };
    let mut members: Vec<_> = table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    members.sort_by_key(|(_, span, _)| span.start);
    Some(members)
}

fn string<'v>(value: &'v Value<'_>, opt: &Opt, expected: &str, faults: &mut Faults) -> Option<&'v str> {
    let found = value.get_ref().as_str();
    if found.is_none() {
        mismatch(value, opt, expected, faults);
    }
    found
}
