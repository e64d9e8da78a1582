//! The image's recipe: what can be held without a container engine. `tests/image/run` builds and runs it.

use std::fs;

use crate::tools::root;

/// The recipe's instructions, continued lines joined.
fn instructions() -> Vec<String> {
    let text = fs::read_to_string(root("Dockerfile")).unwrap().replace("\\\n", "");
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn what_the_recipe_copies_is_there_and_reaches_the_builder() {
    let ignored = fs::read_to_string(root(".dockerignore")).unwrap();
    let taken: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for path in &taken {
        assert!(root(path).exists(), "{path}");
    }
    for copy in instructions().iter().filter_map(|line| line.strip_prefix("COPY ")) {
        let source = copy.split_whitespace().next().unwrap();
        let built = source.starts_with("--from=");
        assert!(built || source == "." || taken.contains(&source), "{copy}");
    }
    // What Cargo reads before it builds anything: the sources of every target that the manifest names.
    let manifest: toml::Table = fs::read_to_string(root("Cargo.toml")).unwrap().parse().unwrap();
    assert_eq!(manifest["package"]["readme"].as_str(), Some("README.md"));
    for directory in ["src", "tests", "benches", "README.md", "Cargo.lock"] {
        assert!(taken.contains(&directory), "{directory}");
    }
}

#[test]
fn what_runs_has_no_root_and_no_shell() {
    let all = instructions();
    let last = all.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let stage = &all[last..];
    assert_eq!(stage[0], "FROM gcr.io/distroless/cc-debian12:nonroot");
    assert!(stage.iter().all(|line| !line.starts_with("RUN ") && !line.starts_with("ADD ")), "{stage:?}");
    for line in [
        "USER 65532:65532",
        "STOPSIGNAL SIGTERM",
        r#"ENTRYPOINT ["/usr/bin/bearward"]"#,
        r#"CMD ["run", "--config", "/etc/bearward/bearward.toml"]"#,
    ] {
        assert!(stage.iter().any(|found| found == line), "{line}");
    }
}
