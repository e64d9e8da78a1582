//! The charts and manifests as Kubernetes' own tools see them: real Helm, Kustomize, kubeconform and promtool.
//!
//! `tests/charts/tools` installs them. Where one is missing a test says so and passes, but in CI. With `BLESS=1` in the
//! environment the golden files are written instead of compared.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by failing"
)]

mod cluster;
mod configuration;
mod golden;
mod hardened;
mod image;
mod labels;
#[allow(dead_code, unreachable_pub, reason = "it is the gateway's tests' own; some of it is for them alone")]
#[path = "../gateway/harness/port.rs"]
mod port;
mod refused;
mod releases;
mod rules;
mod sidecars;
mod tools;
mod twins;
mod unit;
mod valid;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use tools::{Tool, root};

/// The gateway's chart, rendered with each of its `ci` values: the case's name and the objects' text.
fn cases(helm: &Tool) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root("charts/bearward/ci")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let rendered = files.iter().map(|file| {
        let name = file.file_name().unwrap().to_str().unwrap();
        let name = name.strip_suffix("-values.yaml").expect("the cases of ci are named so").to_owned();
        let text = helm.output(&["template", "orders", "charts/bearward", "--values", file.to_str().unwrap()]);
        (name, text)
    });
    rendered.collect()
}

/// An application that uses the library chart.
fn application(helm: &Tool) -> String {
    helm.output(&["template", "orders", "tests/charts/orders"])
}

/// The objects of a text of several documents. None may have a key twice, which YAML's own value refuses.
fn objects(text: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    let documents = serde_norway::Deserializer::from_str(text);
    let read = documents.map(|document| serde_norway::Value::deserialize(document).unwrap());
    read.map(|object| serde_json::to_value(object).unwrap()).filter(|object| !object.is_null()).collect()
}

/// The objects of this kind.
fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}
