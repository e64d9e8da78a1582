//! Values that will not do are refused before anything is changed in a cluster, with what to do.

use std::fs;

use tempfile::TempDir;

use crate::tools::Tool;

const FEW: [&str; 6] = [
    "--set=issuer=https://login.example.com/",
    "--set=audience=https://api.example.com",
    "--set=upstream=http://orders:3000",
    "--set=replicaCount=2",
    "--set=dialect=auth0",
    "--set=nameOverride=",
];

#[test]
fn bad_values_are_refused_with_what_to_do() {
    let Some(helm) = Tool::find("helm") else { return };
    let few = |further: &[&'static str]| [&FEW[..], further].concat();
    for (arguments, said) in [
        (few(&["--set=isuer=https://a/"]), "additional properties 'isuer' not allowed"),
        (few(&["--set=image.tagg=1"]), "additional properties 'tagg' not allowed"),
        (few(&["--set=metrics.serviceMonitor.enable=true"]), "additional properties 'enable' not allowed"),
        (few(&["--set=dialect=auth-0"]), "'/dialect': value must be one of 'rfc9068'"),
        (few(&["--set=upstream=htp://orders:3000"]), "'/upstream': 'htp://orders:3000' does not match pattern"),
        (few(&["--set=upstream=orders:3000"]), "'/upstream': 'orders:3000' does not match pattern"),
        (
            few(&["--set=upstream=http://orders:3000/api"]),
            "'/upstream': 'http://orders:3000/api' does not match pattern",
        ),
        (
            few(&["--set=upstream=http://a:b@orders:3000"]),
            "'/upstream': 'http://a:b@orders:3000' does not match pattern",
        ),
        (
            few(&["--set=metrics.prometheusRule.runbooks=docs/runbooks"]),
            "'/metrics/prometheusRule/runbooks': 'docs/runbooks' does not match pattern",
        ),
        (few(&["--set=replicaCount=two"]), "got string, want integer"),
        (few(&["--set=ports.http=80"]), "minimum: got 80, want 1,024"),
        (few(&["--set=image.tag="]), "'/image/tag': '' does not match pattern"),
        (
            few(&["--set=terminationGracePeriodSeconds=30"]),
            "`server.drain` takes 35 s, and Kubernetes kills a pod after 30 s",
        ),
        (few(&["--set=terminationGracePeriodSeconds=35"]), "`server.drain` takes 35 s"),
        (few(&["--set=strategy=Rolling"]), "'/strategy': value must be one of ''"),
        (
            few(&["--set=autoscaling.enabled=true,resources.requests=null"]),
            "`autoscaling` goes by the share of `resources.requests.cpu` that is used",
        ),
        (
            few(&["--set=autoscaling.enabled=true,autoscaling.minReplicas=20"]),
            "`autoscaling.minReplicas` is more than `autoscaling.maxReplicas`",
        ),
        (vec![FEW[0]], "Not set: audience, upstream. Set `issuer`, `audience` and `upstream`; or `config`"),
        (
            few(&["--set=issuer=http://login.example.com/"]),
            "write the exact `iss` of its tokens, which begins with https://",
        ),
        (few(&["--set=config=a"]), "`config` is the whole file, and audience, issuer, upstream would be a second one"),
        (few(&["--set=existingConfigMap=a"]), "`existingConfigMap` holds the whole file"),
        (few(&["--set=ingress.enabled=true"]), "`ingress.hosts` is empty: name the hosts that lead here"),
        (few(&["--set=httpRoute.enabled=true"]), "`httpRoute.parentRefs` is empty: name the Gateway"),
        (
            few(&[
                "--set=httpRoute.enabled=true,httpRoute.parentRefs[0].name=gate",
                "--set=httpRoute.rules[0].backendRefs[0].name=orders",
            ]),
            "`backendRefs`, a way around the gateway: leave them out",
        ),
    ] {
        refused(&helm, &arguments, said);
    }
}

#[test]
fn every_form_of_an_upstream_is_taken() {
    let Some(helm) = Tool::find("helm") else { return };
    for upstream in ["http://orders", "https://orders.shop.svc:3000/", "h2c://[::1]:3000", "unix:/run/orders.sock"] {
        let set = format!("--set=upstream={upstream}");
        helm.output(&[&["template", "orders", "charts/bearward"][..], &FEW, &[&set]].concat());
    }
}

#[test]
fn a_file_that_cannot_serve_in_a_pod_is_refused() {
    let Some(helm) = Tool::find("helm") else { return };
    for (file, further, said) in [
        ("listen = [", "", "`config` is no TOML: toml: line 1"),
        (
            "[admin]\nlisten = '127.0.0.1:9901'",
            "",
            "probes and scrapes come from outside the pod: write \"0.0.0.0:9901\"",
        ),
        ("[admin]\nlisten = '[::1]:9901'", "", "probes and scrapes come from outside the pod: write \"0.0.0.0:9901\""),
        ("[server]\nlisten = ['127.0.0.1:8080']", "", "requests come from outside the pod: write \"0.0.0.0:8080\""),
        ("[server]\nlisten = '0.0.0.0:80'", "", "server.listen is \"0.0.0.0:80\", but `ports.http` is 8080"),
        (
            "[admin]\nlisten = '0.0.0.0:9901'",
            "ports.admin=9902",
            "admin.listen is \"0.0.0.0:9901\", but `ports.admin` is 9902",
        ),
        ("[admin]", "", "[admin] has no `listen`: leave [admin] out, or write `listen = \"0.0.0.0:9901\"` beneath it"),
        ("admin = '0.0.0.0:9901'", "", "admin is no table: write its options beneath [admin]"),
        ("server = '0.0.0.0:8080'", "", "server is no table: write its options beneath [server]"),
        ("[server]\nlisten = 8080", "", "server.listen is no address: write one such as \"0.0.0.0:8080\""),
        (
            "[server.drain]\ntimeout = '2m'",
            "",
            "`server.drain` takes 125 s, and Kubernetes kills a pod after 45 s: set `terminationGracePeriodSeconds: 135`",
        ),
        ("", "ports.http=8081", "Not set: audience, issuer, upstream."),
        ("[log]", "ports.http=8081", "server.listen is \"0.0.0.0:8080\", but `ports.http` is 8081"),
        ("[sessions.web]", "", "Sessions are kept in \"memory:\", which only one pod can see. Set `replicaCount: 1`"),
        (
            "[sessions.web]\n[store]\nurl = 'file:a.db'",
            "",
            "Sessions are kept in \"file:a.db\", which only one pod can see",
        ),
        ("[sessions.web]", "autoscaling.enabled=true,replicaCount=1", "Sessions are kept in \"memory:\""),
    ] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("bearward.toml");
        fs::write(&path, file).unwrap();
        let (path, further) = (format!("--set-file=config={}", path.display()), format!("--set={further}"));
        refused(&helm, &[&path, &further], said);
    }
}

#[test]
fn sessions_in_one_pod_or_in_redis_are_taken() {
    let Some(helm) = Tool::find("helm") else { return };
    for (file, further) in [
        ("[sessions.web]", "replicaCount=1"),
        ("[sessions.web]\n[store]\nurl = 'redis://redis:6379'", "replicaCount=3"),
        ("[sessions.web]\n[store]\nurl = 'rediss://redis:6379'", "autoscaling.enabled=true"),
    ] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("bearward.toml");
        fs::write(&path, file).unwrap();
        let path = format!("--set-file=config={}", path.display());
        helm.output(&["template", "orders", "charts/bearward", &path, "--set", further]);
    }
}

fn refused(helm: &Tool, arguments: &[&str], said: &str) {
    let done = helm.run(&[&["template", "orders", "charts/bearward"][..], arguments].concat());
    let found = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success(), "{arguments:?} is taken");
    assert!(found.contains(said), "{arguments:?}: {found}");
}
