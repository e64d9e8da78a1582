//! Every object is valid for the oldest Kubernetes that is supported, a newer one and the newest, CRDs included.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tools::{Tool, root};
use crate::{application, cases};

const VERSIONS: [&str; 3] = ["1.29", "1.33", "1.37"];

#[test]
fn every_rendered_object_is_valid_for_three_kubernetes_versions() {
    let (Some(helm), Some(kustomize), Some(judge)) = (Tool::find("helm"), Tool::find("kustomize"), Judge::find())
    else {
        return;
    };
    let mut texts = cases(&helm);
    texts.push(("sidecar chart".to_owned(), application(&helm)));
    texts.push(("component".to_owned(), kustomize.output(&["build", "deploy/kustomize/example"])));
    texts.push(("plain".to_owned(), fs::read_to_string(root("deploy/sidecar.yaml")).unwrap()));
    for (name, text) in texts {
        for version in VERSIONS {
            let said = judge.judge(&text, version);
            assert!(said.is_ok(), "{name} on {version}: {}", said.unwrap_err());
        }
    }
}

#[test]
fn an_object_with_a_misspelt_field_is_not_valid() {
    let Some(judge) = Judge::find() else { return };
    let good = fs::read_to_string(root("tests/charts/golden/production.yaml")).unwrap();
    for (field, misspelt, kind) in [
        ("runAsNonRoot:", "runAsNonroot:", "Deployment"),
        ("maxUnavailable: 25%", "maxUnavailble: 25%", "PodDisruptionBudget"),
        ("interval:", "intervall:", "ServiceMonitor"),
        ("parentRefs:", "parentRef:", "HTTPRoute"),
        ("expr:", "expression:", "PrometheusRule"),
    ] {
        let bad = good.replace(field, misspelt);
        assert_ne!(bad, good, "{field}");
        let said = judge.judge(&bad, "1.33").expect_err(misspelt);
        assert!(said.contains(kind) && said.contains("is invalid"), "{misspelt}: {said}");
    }
}

/// kubeconform, with the schemas of Kubernetes' own objects and of the CRDs.
struct Judge {
    kubeconform: Tool,
    crds: TempDir,
}

impl Judge {
    fn find() -> Option<Self> {
        let kubeconform = Tool::find("kubeconform")?;
        let crds = TempDir::new().unwrap();
        for file in fs::read_dir(root("target/kubernetes/crds")).unwrap() {
            let crd: Value = serde_norway::from_str(&fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
            write_schemas(&crd, crds.path());
        }
        Some(Self { kubeconform, crds })
    }

    fn judge(&self, text: &str, version: &str) -> Result<(), String> {
        let file = self.crds.path().join("objects.yaml");
        fs::write(&file, text).unwrap();
        let place = |directory: &Path| format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", directory.display());
        let own = place(&root(&format!("target/kubernetes/schemas/v{version}.0-local-strict")));
        let done = self.kubeconform.run(&[
            "-strict",
            "-schema-location",
            &own,
            "-schema-location",
            &place(self.crds.path()),
            file.to_str().unwrap(),
        ]);
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        if done.status.success() { Ok(()) } else { Err(said) }
    }
}

/// Writes the schema of each version of a CRD, named as kubeconform looks for it.
fn write_schemas(crd: &Value, directory: &Path) {
    let group = crd["spec"]["group"].as_str().unwrap().split('.').next().unwrap();
    let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_lowercase();
    for version in crd["spec"]["versions"].as_array().unwrap() {
        let mut schema = version["schema"]["openAPIV3Schema"].clone();
        close(&mut schema);
        // What every object has; a CRD names it without saying more.
        schema["properties"]["metadata"] = json!({ "type": "object" });
        let name = format!("{kind}-{group}-{}.json", version["name"].as_str().unwrap());
        fs::write(directory.join(name), schema.to_string()).unwrap();
    }
}

/// Refuses what a CRD does not name, as an API server does that validates strictly.
fn close(schema: &mut Value) {
    if let Some(list) = schema.as_array_mut() {
        list.iter_mut().for_each(close);
    }
    let Some(object) = schema.as_object_mut() else { return };
    object.values_mut().for_each(close);
    let open = object.contains_key("x-kubernetes-preserve-unknown-fields");
    if object.get("properties").is_some_and(Value::is_object) && !open && object.get("type") == Some(&json!("object")) {
        object.entry("additionalProperties").or_insert(json!(false));
    }
}
