//! What Helm makes of the charts, and what it says of them.

use std::fs;

use crate::tools::{Tool, root};
use crate::{application, cases};

#[test]
fn helm_finds_nothing_to_say_of_the_charts() {
    let Some(helm) = Tool::find("helm") else { return };
    for (name, _) in cases(&helm) {
        let values = format!("charts/bearward/ci/{name}-values.yaml");
        helm.output(&["lint", "--strict", "charts/bearward", "--values", &values]);
    }
    helm.output(&["lint", "--strict", "charts/bearward-sidecar"]);
    helm.output(&["lint", "--strict", "tests/charts/orders"]);
}

#[test]
fn every_case_renders_as_its_golden_file() {
    let Some(helm) = Tool::find("helm") else { return };
    let mut rendered = cases(&helm);
    rendered.push(("sidecar".to_owned(), application(&helm)));
    let mut wrong = Vec::new();
    for (name, found) in rendered {
        let path = root(&format!("tests/charts/golden/{name}.yaml"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &found).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != found {
            println!("--- {} should be\n{found}", path.display());
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}: BLESS=1 writes them anew");
}

#[test]
fn the_notes_say_what_to_try_and_warn() {
    let Some(helm) = Tool::find("helm") else { return };
    let notes = |case: &str| {
        let values = format!("charts/bearward/ci/{case}-values.yaml");
        let arguments = ["install", "orders", "charts/bearward", "--dry-run=client", "--values", &values];
        let out = helm.output(&arguments);
        out.split_once("NOTES:").expect("there are notes").1.to_owned()
    };
    let plain = notes("smallest");
    assert!(plain.contains("Bearward stands before http://orders.shop.svc:3000."), "{plain}");
    assert!(plain.contains("port-forward service/orders-bearward 8080:80"), "{plain}");
    assert!(plain.contains("\n  curl -i http://127.0.0.1:8080/\n"), "{plain}");
    assert!(!plain.contains("WARNING") && !plain.contains("PATH"), "{plain}");
    let loud = notes("file");
    assert!(loud.contains("WARNING: a policy is in shadow mode"), "{loud}");
    assert!(loud.contains("WARNING: a route is public"), "{loud}");
    assert!(loud.contains("\n  curl -ik https://127.0.0.1:8080/PATH\n"), "its listener speaks TLS: {loud}");
    assert!(notes("existing").contains("\n  curl -i http://127.0.0.1:8080/PATH\n"));
}

#[test]
fn charts_and_manifests_are_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for chart in ["bearward", "bearward-sidecar"] {
        let read = |file: &str| fs::read_to_string(root(&format!("charts/{chart}/{file}"))).unwrap();
        assert!(read("Chart.yaml").contains(&format!("\nversion: {version}\nappVersion: \"{version}\"\n")), "{chart}");
        assert!(read("values.yaml").contains(&format!("\n  tag: \"{version}\"\n")), "{chart}");
    }
    for manifest in ["deploy/sidecar.yaml", "deploy/kustomize/sidecar/sidecar.yaml"] {
        let text = fs::read_to_string(root(manifest)).unwrap();
        assert_eq!(text.matches("image: bearward:").count(), 2, "{manifest}");
        assert_eq!(text.matches(&format!("image: bearward:{version}\n")).count(), 2, "{manifest}");
    }
}
