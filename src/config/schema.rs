//! `config.schema.json`, written from the declarations: JSON Schema (draft-07) of the file, for editors.
//!
//! A schema knows the form of each value and the names of all options, and not whether the values fit each other: what it
//! refuses `check` refuses too, and says why; the reverse does not hold.

use std::iter;

use serde_json::{Map, json};

use super::declare::{Opt, Read as _, Rule};
use super::options::File;

/// The shape of a value.
pub(super) type Schema = serde_json::Value;

/// JSON Schema (draft-07) of the configuration file.
pub fn schema() -> serde_json::Value {
    let mut schema = File::schema();
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("The configuration of Bearward");
    schema
}

/// A table of exactly these options.
pub(super) fn table(title: &str, options: &[Opt]) -> Schema {
    let properties: Map<_, _> = options.iter().map(|option| (option.name.to_owned(), described(option))).collect();
    let mut table = json!({
        "type": "object",
        "title": title.trim().replace('`', ""),
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<_> = options.iter().filter(|option| option.is_required()).map(|option| option.name).collect();
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

/// A string that matches this regular expression.
pub(super) fn text(pattern: &str) -> Schema {
    json!({ "type": "string", "pattern": pattern })
}

/// One of these words.
pub(super) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Schema {
    json!({ "type": "string", "enum": Vec::from_iter(words) })
}

/// One of these forms, which exclude each other.
pub(super) fn either(forms: impl IntoIterator<Item = Schema>) -> Schema {
    json!({ "oneOf": Vec::from_iter(forms) })
}

/// The option's shape, with what is said of it.
fn described(option: &Opt) -> Schema {
    let mut schema = (option.schema)();
    schema["description"] = json!(option.doc.trim());
    match option.rule {
        Rule::Default(text) => schema["default"] = value(text),
        Rule::Required(sample) | Rule::Off(sample) | Rule::Usual(sample) => {
            schema["examples"] = iter::once(value(sample)).collect();
        }
        Rule::Inline | Rule::Section | Rule::OffSection | Rule::Named(_) | Rule::Each => {}
    }
    schema
}

/// A value of the declarations, which are TOML.
fn value(text: &str) -> Schema {
    // They are read at each start, where one that is no TOML is reported as a defect of ours.
    text.parse::<toml::Value>().ok().and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
}
