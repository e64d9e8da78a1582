//! The library chart, the Kustomize component and the plain manifest put the same beside an application.

use std::fs;

use serde_json::Value;

use crate::tools::{Tool, root};
use crate::{application, objects, of_kind};

/// What stands in the application's pod because of us. A ConfigMap's name is another in each.
fn sidecar(text: &str) -> (Value, Value) {
    let objects = objects(text);
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
    let mut volumes = pod["volumes"].clone();
    assert!(volumes[0]["configMap"]["name"].as_str().unwrap().contains("bearward"), "{volumes}");
    volumes[0]["configMap"]["name"] = Value::Null;
    (pod["initContainers"].clone(), volumes)
}

#[test]
fn the_three_ways_to_a_sidecar_lead_to_the_same() {
    let (Some(helm), Some(kustomize)) = (Tool::find("helm"), Tool::find("kustomize")) else { return };
    let plain = sidecar(&fs::read_to_string(root("deploy/sidecar.yaml")).unwrap());
    assert_eq!(sidecar(&application(&helm)), plain);
    assert_eq!(sidecar(&kustomize.output(&["build", "deploy/kustomize/example"])), plain);

    let (containers, _) = plain;
    let restarts: Vec<_> =
        containers.as_array().unwrap().iter().map(|one| (&one["name"], &one["restartPolicy"])).collect();
    assert_eq!(restarts, [(&"bearward-check".into(), &Value::Null), (&"bearward".into(), &"Always".into())]);
}

#[test]
fn the_library_chart_takes_a_whole_file() {
    let Some(helm) = Tool::find("helm") else { return };
    let file = "deploy/kustomize/example/bearward.toml";
    let rendered = helm.output(&[
        "template",
        "orders",
        "tests/charts/orders",
        &format!("--set-file=bearward-sidecar.config={file}"),
        "--set=bearward-sidecar.issuer=,bearward-sidecar.audience=,bearward-sidecar.upstream=null",
    ]);
    let objects = objects(&rendered);
    let written = of_kind(&objects, "ConfigMap")[0]["data"]["bearward.toml"].as_str().unwrap();
    assert_eq!(written.trim(), fs::read_to_string(root(file)).unwrap().trim());
}

#[test]
fn the_library_chart_refuses_what_it_would_not_use() {
    let Some(helm) = Tool::find("helm") else { return };
    for (set, said) in [
        ("bearward-sidecar.existingConfigMap=a", "`existingConfigMap` holds the whole file: leave out"),
        (
            "bearward-sidecar.config=a",
            "`config` is the whole file, and audience, issuer, upstream would be a second one",
        ),
        ("bearward-sidecar.upstream=", "Not set: upstream."),
    ] {
        let done = helm.run(&["template", "orders", "tests/charts/orders", "--set", set]);
        let found = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && found.contains(said), "{set}: {found}");
    }
}
