//! The configuration that a chart writes is one that `bearward check` takes, and bad ones stop in the init container.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use tempfile::TempDir;

use crate::tools::{Tool, root};
use crate::{application, cases, objects, of_kind};

/// The configuration among the rendered objects, where the chart writes one.
fn configuration(rendered: &str) -> Option<String> {
    let objects = objects(rendered);
    let texts = of_kind(&objects, "ConfigMap").into_iter();
    texts.filter_map(|map| map["data"]["bearward.toml"].as_str().map(str::to_owned)).next()
}

/// What the init container says of a configuration, the Secrets' files lying in `secrets`.
fn check(text: &str, secrets: &Path) -> Output {
    let file = secrets.join("bearward.toml");
    fs::write(&file, text.replace("/run/secrets/", &format!("{}/", secrets.display()))).unwrap();
    Command::new(env!("CARGO_BIN_EXE_bearward")).args(["check", "--config", file.to_str().unwrap()]).output().unwrap()
}

/// A file that only we may read.
fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o440)).unwrap();
}

fn secrets() -> TempDir {
    let directory = TempDir::new().unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["api.example.com".to_owned()]).unwrap();
    write_secret(&directory.path().join("orders-tls/tls.crt"), &cert.pem());
    write_secret(&directory.path().join("orders-tls/tls.key"), &signing_key.serialize_pem());
    write_secret(&directory.path().join("introspection/client-secret"), "not told");
    directory
}

#[test]
fn the_configuration_of_every_case_is_good() {
    let (Some(helm), Some(kustomize)) = (Tool::find("helm"), Tool::find("kustomize")) else { return };
    let mut texts = cases(&helm);
    texts.push(("sidecar chart".to_owned(), application(&helm)));
    texts.push(("component".to_owned(), kustomize.output(&["build", "deploy/kustomize/example"])));
    texts.push(("plain".to_owned(), fs::read_to_string(root("deploy/sidecar.yaml")).unwrap()));
    let secrets = secrets();
    for (name, rendered) in texts {
        let Some(text) = configuration(&rendered) else {
            assert_eq!(name, "existing", "only there the file is somebody else's");
            continue;
        };
        assert!(text.contains("[admin]\n"), "{name}: {text}");
        let done = check(&text, secrets.path());
        assert!(done.status.success(), "{name}: {}\n{text}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn a_secret_that_lacks_its_key_stops_in_the_init_container() {
    let Some(helm) = Tool::find("helm") else { return };
    let (_, rendered) = cases(&helm).into_iter().find(|(name, _)| name == "file").unwrap();
    let secrets = secrets();
    fs::remove_file(secrets.path().join("introspection/client-secret")).unwrap();
    let done = check(&configuration(&rendered).unwrap(), secrets.path());
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("introspection/client-secret"), "{said}");
}

#[test]
fn the_file_given_is_the_file_written() {
    let Some(helm) = Tool::find("helm") else { return };
    let given = "[server]\nlisten = \"[::]:8080\"\n\n[admin]\nlisten = \"[::]:9901\"  # as it was\n";
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("bearward.toml");
    fs::write(&file, given).unwrap();
    let set = format!("config={}", file.display());
    let rendered = helm.output(&["template", "orders", "charts/bearward", "--set-file", &set]);
    assert_eq!(configuration(&rendered).unwrap().trim(), given.trim());
}

/// The ConfigMap that the pods of a rendered chart mount, where that is one which is rendered with them.
fn mounted(rendered: &str) -> String {
    let objects = objects(rendered);
    let volumes = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["volumes"];
    let name = volumes[0]["configMap"]["name"].as_str().unwrap().to_owned();
    assert_eq!(of_kind(&objects, "ConfigMap")[0]["metadata"]["name"], name.as_str());
    name
}

#[test]
fn a_changed_file_rolls_the_pods_and_leaves_the_old_ones_theirs_unless_they_shall_reload() {
    let Some(helm) = Tool::find("helm") else { return };
    let few = ["template", "orders", "charts/bearward", "--values", "charts/bearward/ci/smallest-values.yaml"];
    let gateway = |set: &str| mounted(&helm.output(&[&few[..], &["--set", set]].concat()));
    let first = gateway("replicaCount=2");
    assert_eq!(gateway("replicaCount=3"), first);
    assert_ne!(gateway("audience=other"), first, "another name in the pod's template rolls it");
    assert_eq!(gateway("onConfigChange=reload"), "orders-bearward");
    assert_eq!(gateway("onConfigChange=reload,audience=other"), "orders-bearward");

    let sidecar = |set: &str| mounted(&helm.output(&["template", "orders", "tests/charts/orders", "--set", set]));
    let first = sidecar("bearward-sidecar.ports.http=8080");
    assert_eq!(sidecar("bearward-sidecar.check.online=true"), first);
    assert_ne!(sidecar("bearward-sidecar.audience=other"), first);
    assert_eq!(sidecar("bearward-sidecar.onConfigChange=reload"), "orders-bearward");
}

#[test]
fn sessions_in_a_file_are_left_by_one_pod_before_another_has_them() {
    let Some(helm) = Tool::find("helm") else { return };
    let strategy = |file: &str, set: &str| {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("bearward.toml");
        fs::write(&path, file).unwrap();
        let path = format!("--set-file=config={}", path.display());
        let rendered = helm.output(&["template", "orders", "charts/bearward", &path, "--set", set]);
        of_kind(&objects(&rendered), "Deployment")[0]["spec"]["strategy"].clone()
    };
    let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } });
    let in_a_file = "[sessions.web]\n[store]\nurl = 'file:/data/state.db'";
    assert_eq!(strategy(in_a_file, "replicaCount=1"), json!({ "type": "Recreate" }));
    assert_eq!(strategy(in_a_file, "replicaCount=1,strategy=RollingUpdate"), rolling);
    assert_eq!(strategy("[sessions.web]\n[store]\nurl = 'redis://redis'", "replicaCount=2"), rolling);
    assert_eq!(strategy("[log]", "strategy=Recreate"), json!({ "type": "Recreate" }));
}
