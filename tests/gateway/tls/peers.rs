//! Clients with another TLS library than ours: curl and OpenSSL.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{HOST, World};
use crate::harness::certificates::Authority;

/// What a program says and its exit code; none where it is not installed.
async fn run(program: &'static str, arguments: Vec<String>) -> Option<(i32, String)> {
    let run = move || {
        let run = Command::new(program).args(arguments).stdin(Stdio::null()).output();
        match run {
            Ok(output) => {
                let said = [output.stdout, output.stderr].concat();
                Some((output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned()))
            }
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "{program} is needed in CI");
                // Not by a macro: those are captured, and a test that did nothing must not look like one that did.
                let line = format!("\nSKIPPED: {program} cannot be started ({error})\n");
                std::io::stderr().write_all(line.as_bytes()).unwrap();
                None
            }
        }
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// What curl says of a request: the HTTP version and the status, or why there is none.
async fn curl(world: &World, more: &[&str]) -> Option<(i32, String)> {
    let address = world.gateway.address();
    let (resolved, authority) = (format!("{HOST}:{}:127.0.0.1", address.port()), world.authority.file());
    let url = format!("https://{HOST}:{}/", address.port());
    let fixed = ["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"];
    let (resolved, authority) = (["--resolve", &resolved], ["--cacert", authority.to_str().unwrap()]);
    let arguments = [&fixed[..], &resolved, &authority, more, &[&url]].concat();
    run("curl", arguments.into_iter().map(str::to_owned).collect()).await
}

#[tokio::test]
async fn curl_is_served() {
    let world = World::start().await;
    for (more, expected) in [
        (&["--tlsv1.3", "--http2"][..], "2 200"),
        (&["--tlsv1.3", "--http1.1"], "1.1 200"),
        (&["--tls-max", "1.2", "--http2"], "2 200"),
        (&["--tls-max", "1.2", "--http1.1"], "1.1 200"),
        (&["--no-alpn"], "1.1 200"),
    ] {
        let Some(said) = curl(&world, more).await else { return };
        assert_eq!(said, (0, expected.to_owned()), "{more:?}");
    }
}

#[tokio::test]
async fn curl_shows_its_certificate() {
    let ours = Authority::new();
    let good = ours.issue("good", &["client.test"]);
    let lines = format!("client_certificates = {{ ca = \"{}\", mode = \"required\" }}", ours.file().display());
    let world = World::configured(&lines, "").await;
    let (certificate, key) = (good.file().to_str().unwrap(), good.key_file().to_str().unwrap());
    for version in ["--tlsv1.3", "--tls-max=1.2"] {
        let version: Vec<&str> = version.split('=').collect();
        let Some(said) = curl(&world, &[&version[..], &["--cert", certificate, "--key", key]].concat()).await else {
            return;
        };
        assert_eq!(said, (0, "2 200".to_owned()));
        let (code, said) = curl(&world, &version).await.unwrap();
        assert!(code != 0 && said.contains("certificate required"), "{said}");
    }
}

#[tokio::test]
async fn openssl_hears_why_it_is_refused() {
    let world = World::start().await;
    let address = world.gateway.address().to_string();
    for (version, expected) in
        [("-tls1", "alert"), ("-tls1_1", "alert"), ("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")]
    {
        let arguments = ["s_client", "-brief", "-connect", &address, "-servername", HOST, version];
        let old = ["-cipher", "DEFAULT:@SECLEVEL=0"];
        let arguments = [&arguments[..], if expected == "alert" { &old } else { &[] }].concat();
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let Some((code, said)) = run("openssl", arguments).await else { return };
        assert_eq!(code != 0, expected == "alert", "{version}: {said}");
        assert!(said.contains(expected), "{version}: {said}");
    }
    world.failed("tls_handshake", 2.0).await;
}
