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
