//! The two charts stand alone: what both need, each has, and the same.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::tools::{Tool, root};

fn json(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(root(path)).unwrap()).unwrap()
}

#[test]
fn what_both_charts_write_is_written_alike() {
    let [one, other] = ["bearward", "bearward-sidecar"]
        .map(|chart| fs::read(root(&format!("charts/{chart}/templates/_bearward.tpl"))).unwrap());
    assert!(one == other, "copy charts/bearward-sidecar/templates/_bearward.tpl to charts/bearward/templates");
}

#[test]
fn what_both_charts_take_is_taken_alike() {
    let [one, other] =
        ["bearward", "bearward-sidecar"].map(|chart| json(&format!("charts/{chart}/values.schema.json")));
    for (name, schema) in other["properties"].as_object().unwrap() {
        assert_eq!(&one["properties"][name], schema, "{name}");
    }
}

#[test]
fn the_charts_know_every_dialect() {
    let schema = json("config.schema.json");
    let known = &schema["properties"]["issuers"]["additionalProperties"]["properties"]["dialect"]["enum"];
    assert!(known.is_array());
    assert_eq!(&json("charts/bearward/values.schema.json")["properties"]["dialect"]["enum"], known);
}

#[test]
fn a_chart_that_is_copied_alone_renders_the_same() {
    let Some(helm) = Tool::find("helm") else { return };
    let (directory, values) = (TempDir::new().unwrap(), "charts/bearward/ci/production-values.yaml");
    let path = directory.path().to_str().unwrap();
    let rendered = |chart: &str| helm.output(&["template", "orders", chart, "--values", values]);
    Tool::find("cp").unwrap().output(&["-R", "charts/bearward", path]);
    let copied = rendered(&format!("{path}/bearward"));
    helm.output(&["package", "charts/bearward", "--destination", path]);
    helm.output(&["package", "charts/bearward-sidecar", "--destination", path]);
    let packaged = rendered(&format!("{path}/bearward-0.1.0.tgz"));
    let expected = rendered("charts/bearward");
    assert!(copied == expected && packaged == expected);
}
