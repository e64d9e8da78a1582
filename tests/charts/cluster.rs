//! A real API server takes every object by server-side apply, and refuses what it does not know.
//!
//! It is built out of Kubernetes' Go modules by `tests/charts/tools --long`, which takes long; so these are tests that only
//! `tests/run --long` asks for.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::port::Port;
use crate::tools::{Tool, root};
use crate::{application, cases, objects};

#[tokio::test]
#[ignore = "needs kube-apiserver and etcd: tests/run --long"]
async fn a_real_api_server_takes_every_object() {
    let (helm, kustomize) = (Tool::find("helm").unwrap(), Tool::find("kustomize").unwrap());
    let mut texts = cases(&helm);
    let ours = texts.len();
    texts.push(("sidecar chart".to_owned(), application(&helm)));
    texts.push(("component".to_owned(), kustomize.output(&["build", "deploy/kustomize/example"])));
    texts.push(("plain".to_owned(), fs::read_to_string(root("deploy/sidecar.yaml")).unwrap()));
    let cluster = Cluster::start().await;
    cluster.define_crds().await;
    // A namespace for each: some of the names are the same.
    for (number, (case, text)) in texts.iter().enumerate() {
        let namespace = format!("case-{number}");
        cluster.make_namespace(&namespace).await;
        for object in objects(text) {
            let (taken, said) = cluster.apply(&object, &namespace).await;
            assert!(taken.is_success(), "{case}: {} {said}", object["kind"]);
            // Beside an application there is a container that is not ours.
            if let Some(pod) = pod_of(&object).filter(|_| number < ours) {
                let (taken, said) = cluster.apply(&pod, &namespace).await;
                assert!(taken.is_success(), "{case}: {said}");
            }
        }
    }
    let (_, text) = &texts[0];
    let lax = text.replace("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true");
    let lax = objects(&lax).iter().find_map(pod_of).unwrap();
    cluster.make_namespace("lax").await;
    let (taken, said) = cluster.apply(&lax, "lax").await;
    assert!(taken == StatusCode::FORBIDDEN && said.contains("violates PodSecurity"), "{taken} {said}");

    // It looks closely: a field that it does not know is refused.
    let misspelt = text.replace("runAsNonRoot:", "runAsNonroot:");
    for object in objects(&misspelt).iter().filter(|object| object["kind"] == "Deployment") {
        let (taken, said) = cluster.apply(object, "default").await;
        assert!(!taken.is_success() && said.contains("runAsNonroot"), "{taken} {said}");
    }
}

/// A pod of a Deployment, as its controller would make one.
fn pod_of(object: &Value) -> Option<Value> {
    let template = object.pointer("/spec/template").filter(|_| object["kind"] == "Deployment")?;
    let metadata = json!({ "name": "of-the-deployment", "labels": template["metadata"]["labels"] });
    Some(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] }))
}

const TOKEN: &str = "of-this-test-alone";

/// etcd and an API server, without anything that would act on what it holds.
pub(crate) struct Cluster {
    processes: Vec<Child>,
    /// Theirs; the API server's is the last.
    ports: [Port; 3],
    client: Client,
    directory: TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let ports = [(); 3].map(|()| Port::reserve());
        let [store, peer, address] = ports.each_ref().map(Port::address);
        let etcd = [
            format!("--data-dir={}", path("etcd")),
            format!("--listen-client-urls=http://{store}"),
            format!("--advertise-client-urls=http://{store}"),
            format!("--listen-peer-urls=http://{peer}"),
            format!("--initial-advertise-peer-urls=http://{peer}"),
            format!("--initial-cluster=default=http://{peer}"),
        ];
        let openssl = Tool::find("openssl").unwrap();
        openssl.output(&["genrsa", "-out", &path("accounts.key"), "2048"]);
        fs::write(path("tokens"), format!("{TOKEN},admin,admin,system:masters\n")).unwrap();
        let server = [
            format!("--etcd-servers=http://{store}"),
            format!("--secure-port={}", address.port()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", path("certificates")),
            format!("--token-auth-file={}", path("tokens")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", path("accounts.key")),
            format!("--service-account-signing-key-file={}", path("accounts.key")),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            // Nothing makes service accounts here.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ];
        let run = |name: &str, arguments: &[String]| {
            let log = fs::File::create(path(&format!("{name}.log"))).unwrap();
            let program = root("target/kubernetes/bin").join(name);
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
        };
        let processes = vec![run("etcd", &etcd), run("kube-apiserver", &server)];
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().build().unwrap();
        let cluster = Self { processes, ports, client, directory };
        let give_up = Instant::now() + Duration::from_secs(120);
        while !cluster.is_ready().await {
            let log = fs::read_to_string(cluster.directory.path().join("kube-apiserver.log")).unwrap();
            assert!(Instant::now() < give_up, "it does not become ready: {log}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        cluster
    }

    async fn is_ready(&self) -> bool {
        self.serves("/readyz").await
    }

    async fn serves(&self, path: &str) -> bool {
        let asked = self.client.get(self.url(path)).bearer_auth(TOKEN).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    fn url(&self, path: &str) -> String {
        let [.., port] = &self.ports;
        format!("https://{}{path}", port.address())
    }

    /// Defines the CRDs, and waits until objects of them are taken.
    pub(crate) async fn define_crds(&self) {
        for file in fs::read_dir(root("target/kubernetes/crds")).unwrap() {
            let crd: Value = serde_norway::from_str(&fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
            let (taken, said) = self.apply(&crd, "").await;
            assert!(taken.is_success(), "{said}");
            let (group, versions) = (&crd["spec"]["group"], crd["spec"]["versions"].as_array().unwrap());
            let version = versions[0]["name"].as_str().unwrap();
            let plural = crd["spec"]["names"]["plural"].as_str().unwrap();
            let path = format!("/apis/{}/{version}/{plural}", group.as_str().unwrap());
            let give_up = Instant::now() + Duration::from_secs(120);
            while !self.serves(&path).await {
                assert!(Instant::now() < give_up, "{plural} are not served");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// A namespace that takes only pods which are shut in as Kubernetes' standard `restricted` asks.
    pub(crate) async fn make_namespace(&self, name: &str) {
        let metadata = json!({ "name": name, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } });
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        let (taken, said) = self.apply(&namespace, "").await;
        assert!(taken.is_success(), "{said}");
    }

    /// What `helm --kubeconfig` reads to be the admin.
    pub(crate) fn kubeconfig(&self) -> String {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "admin" } }],
            "clusters": [{ "name": "test", "cluster": { "server": self.url(""), "insecure-skip-tls-verify": true } }],
            "users": [{ "name": "admin", "user": { "token": TOKEN } }],
        });
        let path = self.directory.path().join("kubeconfig");
        fs::write(&path, config.to_string()).unwrap();
        path.display().to_string()
    }

    /// What there is of a kind in a namespace: "KIND/NAME" for each. `api` is such as "apis/apps/v1".
    pub(crate) async fn names(&self, api: &str, kind: &str, namespace: &str) -> Vec<String> {
        let path = format!("/{api}/namespaces/{namespace}/{kind}");
        let answer = self.client.get(self.url(&path)).bearer_auth(TOKEN).send().await.unwrap();
        let list: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| format!("{kind}/{}", item["metadata"]["name"].as_str().unwrap())).collect()
    }

    /// Server-side apply, with strict validation: the status, and what is said. What is in no namespace has none.
    async fn apply(&self, object: &Value, namespace: &str) -> (StatusCode, String) {
        let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let api = if version.contains('/') { "apis" } else { "api" };
        let space = if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
        let plural = match kind {
            "Ingress" => "ingresses".to_owned(),
            "NetworkPolicy" => "networkpolicies".to_owned(),
            other => format!("{}s", other.to_lowercase()),
        };
        let name = object["metadata"]["name"].as_str().unwrap();
        let path =
            format!("/{api}/{version}/{space}{plural}/{name}?fieldManager=test&force=true&fieldValidation=Strict");
        let request = self.client.patch(self.url(&path)).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/apply-patch+yaml").body(object.to_string());
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
