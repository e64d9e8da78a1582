//! The schema is current, takes every good file, and refuses every fault of form.

use std::path::Path;

use bearward::config::{example, schema};
use jsonschema::{Validator, draft7};
use serde_json::{Value, json};

use crate::{cases, compare, whole_example};

fn validator() -> Validator {
    draft7::new(&schema()).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

#[test]
fn the_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.schema.json");
    assert!(compare(&path, &format!("{:#}\n", schema())), "run this test with BLESS=1");
}

#[test]
fn the_schema_is_one_of_draft_07() {
    draft7::meta::validate(&schema()).unwrap();
    assert_eq!(schema()["$schema"], "http://json-schema.org/draft-07/schema#");
}

#[test]
fn the_schema_takes_the_example() {
    for text in [example(), whole_example()] {
        validator().validate(&json(&text)).unwrap();
    }
}

/// Each report says whether the file is good, and whether its form is wrong or only what it means.
#[test]
fn the_schema_takes_good_files_and_refuses_wrong_forms() {
    let validator = validator();
    let (mut good, mut wrong) = (0, 0);
    for case in cases() {
        let Ok(file) = std::fs::read_to_string(&case).unwrap().parse::<toml::Table>() else { continue };
        let file = serde_json::to_value(file).unwrap();
        let report = std::fs::read_to_string(case.with_extension("txt")).unwrap();
        if report.starts_with("exit 0\n") {
            validator.validate(&file).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
            good += 1;
        }
        if ["error: unknown option", "` must be ", "` is missing", "` cannot be `"]
            .iter()
            .any(|sign| report.contains(sign))
        {
            assert!(!validator.is_valid(&file), "{}", case.display());
            wrong += 1;
        }
    }
    assert!(good >= 3 && wrong >= 3, "{good} good files, {wrong} of a wrong form");
}

/// Whatever stands in the file, a table with a nameless list is nothing that any option takes.
#[test]
fn the_schema_refuses_a_wrong_type_at_every_place() {
    let (validator, whole) = (validator(), json(&whole_example()));
    let mut places = Vec::new();
    walk(&whole, String::new(), &mut places);
    for place in &places {
        let mut file = whole.clone();
        *file.pointer_mut(place).unwrap() = json!({ "": [null] });
        assert!(!validator.is_valid(&file), "{place}");
    }
    assert!(places.len() > 60, "{} places", places.len());
}

#[test]
fn the_schema_refuses_an_unknown_option_in_every_table() {
    let (validator, whole) = (validator(), json(&whole_example()));
    let mut places = Vec::new();
    walk(&whole, String::new(), &mut places);
    // Claims and headers are the user's own names.
    places.retain(|place| !["/claims", "/identity_headers"].iter().any(|open| place.contains(open)));
    let mut tables = 0;
    for place in &places {
        let mut file = whole.clone();
        let Some(table) = file.pointer_mut(place).unwrap().as_object_mut() else { continue };
        table.insert("no such option".to_owned(), json!(1));
        assert!(!validator.is_valid(&file), "{place}");
        tables += 1;
    }
    assert!(tables > 10, "{tables} tables");
}

/// The JSON Pointer of every value.
fn walk(value: &Value, place: String, places: &mut Vec<String>) {
    let deeper = |name: &str| format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| walk(value, deeper(name), places)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| walk(value, deeper(&at.to_string()), places));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    places.push(place);
}
