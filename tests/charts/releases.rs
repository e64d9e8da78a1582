//! Helm installs, changes, takes back and removes each case at a real API server, as a user does.
//!
//! A test that only `tests/run --long` asks for, as those of `cluster`. Nothing runs there: what is seen is what Helm leaves.

use crate::cases;
use crate::cluster::Cluster;
use crate::tools::Tool;

#[tokio::test]
#[ignore = "needs kube-apiserver and etcd: tests/run --long"]
async fn a_release_is_installed_changed_taken_back_and_removed() {
    let helm = Tool::find("helm").unwrap();
    let cluster = Cluster::start().await;
    cluster.define_crds().await;
    let kubeconfig = cluster.kubeconfig();
    for (case, _) in cases(&helm) {
        cluster.make_namespace(&case).await;
        let run = |command: &[&str]| {
            helm.output(&[command, &["--namespace", &case, "--kubeconfig", &kubeconfig]].concat());
        };
        let values = format!("charts/bearward/ci/{case}-values.yaml");
        run(&["install", "orders", "charts/bearward", "--values", &values]);
        let first = left(&cluster, &case).await;
        assert!(first.contains(&"deployments/orders-bearward".to_owned()), "{case}: {first:?}");

        // Where the chart writes the file, a changed one has a ConfigMap of its own, and the one before is gone.
        let rolls = matches!(case.as_str(), "smallest" | "production");
        let change = if rolls { "--set=dialect=okta" } else { "--set=commonLabels.team=other" };
        run(&["upgrade", "orders", "charts/bearward", "--values", &values, change]);
        let second = left(&cluster, &case).await;
        assert_eq!(second.len(), first.len(), "{case}: {second:?}");
        assert_eq!(second != first, rolls, "{case}: {second:?}");

        run(&["rollback", "orders", "1"]);
        assert_eq!(left(&cluster, &case).await, first, "{case}");

        run(&["uninstall", "orders"]);
        assert!(left(&cluster, &case).await.is_empty(), "{case}");
    }
}

/// Everything in a namespace that a chart of ours may make.
async fn left(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (api, kind) in [
        ("api/v1", "configmaps"),
        ("api/v1", "services"),
        ("api/v1", "serviceaccounts"),
        ("apis/apps/v1", "deployments"),
        ("apis/autoscaling/v2", "horizontalpodautoscalers"),
        ("apis/policy/v1", "poddisruptionbudgets"),
        ("apis/networking.k8s.io/v1", "networkpolicies"),
        ("apis/networking.k8s.io/v1", "ingresses"),
        ("apis/gateway.networking.k8s.io/v1", "httproutes"),
        ("apis/monitoring.coreos.com/v1", "servicemonitors"),
        ("apis/monitoring.coreos.com/v1", "prometheusrules"),
    ] {
        all.extend(cluster.names(api, kind, namespace).await);
    }
    all
}
