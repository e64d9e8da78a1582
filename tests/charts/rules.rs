//! Alert rules as Prometheus reads them; each has its tests and its page.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::tools::{Tool, root};
use crate::{cases, objects, of_kind};

fn rules() -> Vec<Value> {
    let text = fs::read_to_string(root("charts/bearward/files/rules.yaml")).unwrap();
    let file: Value = serde_norway::from_str(&text).unwrap();
    file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

#[test]
fn promtool_takes_the_rules_and_each_fires_when_it_should() {
    let Some(promtool) = Tool::find("promtool") else { return };
    promtool.output(&["check", "rules", "--lint=all", "--lint-fatal", "charts/bearward/files/rules.yaml"]);
    promtool.output(&["test", "rules", "tests/charts/rules.yaml"]);
}

#[test]
fn every_alert_is_tested_both_ways() {
    let tests: Value = serde_norway::from_str(&fs::read_to_string(root("tests/charts/rules.yaml")).unwrap()).unwrap();
    let mut fires = BTreeSet::new();
    let mut quiet = BTreeSet::new();
    for test in tests["tests"].as_array().unwrap() {
        for case in test["alert_rule_test"].as_array().unwrap() {
            let name = case["alertname"].as_str().unwrap().to_owned();
            let alerts = case["exp_alerts"].as_array().map_or(0, Vec::len);
            if alerts > 0 {
                fires.insert(name)
            } else {
                quiet.insert(name)
            };
        }
    }
    let all: BTreeSet<_> = rules().iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!(fires, all);
    assert_eq!(quiet, all);
}

#[test]
fn every_alert_has_a_page_that_the_list_of_runbooks_names() {
    let list = fs::read_to_string(root("docs/runbooks/README.md")).unwrap();
    let mut pages = BTreeSet::from(["README.md".to_owned()]);
    for rule in rules() {
        let (name, severity) = (rule["alert"].as_str().unwrap(), rule["labels"]["severity"].as_str().unwrap());
        let page = rule["annotations"]["runbook_url"].as_str().unwrap();
        let file = page.strip_prefix("docs/runbooks/").unwrap();
        let text = fs::read_to_string(root(page)).unwrap();
        assert!(text.starts_with(&format!("# {name}\n")), "{page}");
        for part in ["**Means.**", "**Clients see", "**Find out.**", "**Cure.**"] {
            assert!(text.contains(part), "{page}: {part}");
        }
        let stem = file.strip_suffix(".md").unwrap();
        assert!(list.contains(&format!("| `{name}` | {severity} | [{stem}]({file}) |")), "{name}");
        pages.insert(file.to_owned());
    }
    let files = fs::read_dir(root("docs/runbooks")).unwrap();
    assert_eq!(files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>(), pages);
}

#[test]
fn the_chart_carries_the_same_rules_with_the_place_of_their_pages() {
    let Some(helm) = Tool::find("helm") else { return };
    let (_, text) = cases(&helm).into_iter().find(|(name, _)| name == "production").unwrap();
    let objects = objects(&text);
    let rendered = &of_kind(&objects, "PrometheusRule")[0]["spec"]["groups"][0]["rules"];
    let mut expected = rules();
    for rule in &mut expected {
        let page = rule["annotations"]["runbook_url"].as_str().unwrap();
        let page = page.replace("docs/runbooks/", "https://wiki.example.com/bearward/");
        rule["annotations"]["runbook_url"] = page.into();
    }
    assert_eq!(rendered.as_array().unwrap(), &expected);

    // Who keeps the pages nowhere gets no links that lead nowhere.
    let values = "charts/bearward/ci/production-values.yaml";
    let nowhere =
        ["template", "orders", "charts/bearward", "--values", values, "--set=metrics.prometheusRule.runbooks="];
    let rendered = helm.output(&nowhere);
    let rendered = crate::objects(&rendered);
    for rule in &mut expected {
        rule["annotations"].as_object_mut().unwrap().remove("runbook_url");
    }
    assert_eq!(&of_kind(&rendered, "PrometheusRule")[0]["spec"]["groups"][0]["rules"], &Value::from(expected));
}
