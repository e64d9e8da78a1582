//! Labels that are given reach every object, each key once, and no selector.

use serde_json::{Value, json};

use crate::tools::Tool;
use crate::{objects, of_kind};

/// Everything that the chart can make, with these labels.
fn rendered(helm: &Tool, labels: &[&str]) -> Vec<Value> {
    let set: Vec<_> = labels.iter().map(|label| format!("--set-string={label}")).collect();
    let set: Vec<_> = set.iter().map(String::as_str).collect();
    let values = ["template", "orders", "charts/bearward", "--values", "charts/bearward/ci/production-values.yaml"];
    objects(&helm.output(&[&values[..], &set].concat()))
}

#[test]
fn a_label_stands_once_and_the_narrower_one_holds() {
    let Some(helm) = Tool::find("helm") else { return };
    let objects = rendered(
        &helm,
        &[
            "commonLabels.release=all",
            "podLabels.release=pods",
            "metrics.serviceMonitor.labels.release=monitors",
            "metrics.prometheusRule.labels.release=rules",
            "metrics.dashboard.labels.release=dashboards",
        ],
    );
    for object in &objects {
        let expected = match object["kind"].as_str().unwrap() {
            "ServiceMonitor" => "monitors",
            "PrometheusRule" => "rules",
            "ConfigMap" if object["metadata"]["name"] == "orders-bearward-dashboard" => "dashboards",
            _ => "all",
        };
        assert_eq!(object["metadata"]["labels"]["release"], expected, "{}", object["kind"]);
    }
    assert_eq!(of_kind(&objects, "Deployment")[0]["spec"]["template"]["metadata"]["labels"]["release"], "pods");
}

#[test]
fn labels_that_are_given_change_no_selector() {
    let Some(helm) = Tool::find("helm") else { return };
    let objects = rendered(&helm, &["commonLabels.team=other", "podLabels.tier=edge"]);
    let of_pods = json!({ "app.kubernetes.io/name": "bearward", "app.kubernetes.io/instance": "orders" });
    for (kind, place) in [
        ("Deployment", "/spec/selector/matchLabels"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("Service", "/spec/selector"),
    ] {
        for object in of_kind(&objects, kind) {
            assert_eq!(object.pointer(place), Some(&of_pods), "{kind}");
        }
    }
    let monitored = &of_kind(&objects, "ServiceMonitor")[0]["spec"]["selector"]["matchLabels"];
    let services = of_kind(&objects, "Service");
    let found = services.iter().filter(|service| {
        let labels = &service["metadata"]["labels"];
        monitored.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value)
    });
    let ports: Vec<_> = found.map(|service| &service["spec"]["ports"]).collect();
    assert_eq!(ports, [&json!([{ "name": "admin", "port": 9901, "targetPort": "bearward-admin" }])]);
}

#[test]
fn a_label_of_the_chart_itself_cannot_be_given() {
    let Some(helm) = Tool::find("helm") else { return };
    for (value, key) in [
        ("commonLabels", "app.kubernetes.io/name"),
        ("commonLabels", "app.kubernetes.io/component"),
        ("podLabels", "app.kubernetes.io/instance"),
        ("podAnnotations", "kubectl.kubernetes.io/default-container"),
        ("metrics.serviceMonitor.labels", "app.kubernetes.io/instance"),
        ("metrics.prometheusRule.labels", "helm.sh/chart"),
        ("metrics.dashboard.labels", "app.kubernetes.io/version"),
    ] {
        let set = format!("--set={value}.{}=other", key.replace('.', "\\."));
        let values = "charts/bearward/ci/production-values.yaml";
        let done = helm.run(&["template", "orders", "charts/bearward", "--values", values, &set]);
        let said = String::from_utf8_lossy(&done.stderr);
        let expected = format!("`{value}` has the key \"{key}\", which is set by the chart itself: leave it out");
        assert!(!done.status.success() && said.contains(&expected), "{set}: {said}");
    }
}
