//! What every pod of ours has, whichever way it came about.

use std::fs;

use serde_json::{Value, json};

use crate::tools::{Tool, root};
use crate::{application, cases, objects};

#[test]
fn every_container_is_hardened_and_none_has_a_token() {
    let (Some(helm), Some(kustomize)) = (Tool::find("helm"), Tool::find("kustomize")) else { return };
    let mut texts = cases(&helm);
    texts.push(("sidecar chart".to_owned(), application(&helm)));
    texts.push(("component".to_owned(), kustomize.output(&["build", "deploy/kustomize/example"])));
    texts.push(("plain".to_owned(), fs::read_to_string(root("deploy/sidecar.yaml")).unwrap()));
    for (name, text) in texts {
        let pods: Vec<Value> = objects(&text).iter().filter_map(pod).cloned().collect();
        assert!(!pods.is_empty(), "{name}");
        for pod in pods {
            let ours: Vec<_> = containers(&pod).filter(|container| container["name"] != "orders").collect();
            assert!(!ours.is_empty(), "{name}");
            for container in ours {
                hardened(&name, container);
            }
            let token = &pod["automountServiceAccountToken"];
            let own = !text.contains("image: orders:");
            assert!(!own || name == "file" || *token == json!(false), "{name}: only where `automount` asks for it");
        }
    }
}

fn hardened(case: &str, container: &Value) {
    let context = &container["securityContext"];
    for (field, expected) in [
        ("runAsNonRoot", json!(true)),
        ("runAsUser", json!(65532)),
        ("allowPrivilegeEscalation", json!(false)),
        ("readOnlyRootFilesystem", json!(true)),
        ("capabilities", json!({ "drop": ["ALL"] })),
        ("seccompProfile", json!({ "type": "RuntimeDefault" })),
    ] {
        assert_eq!(context[field], expected, "{case}: {field}");
    }
    assert!(container["resources"]["requests"]["cpu"].is_string(), "{case}");
    assert!(container["resources"]["limits"]["memory"].is_string(), "{case}");
    for mount in container["volumeMounts"].as_array().unwrap() {
        assert_eq!(mount["subPath"], Value::Null, "{case}: what is mounted so is never updated");
    }
}

fn pod(object: &Value) -> Option<&Value> {
    match object["kind"].as_str()? {
        "Deployment" => Some(&object["spec"]["template"]["spec"]),
        "Pod" => Some(&object["spec"]),
        _ => None,
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().filter_map(|list| pod[list].as_array()).flatten()
}
