//! The tools, and what to do without them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A program that `tests/charts/tools` installs, or that is in the path.
pub(crate) struct Tool(PathBuf);

/// A path of this repository.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Tool {
    /// The tool, or nothing where it is not installed; that is a failure in CI.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let own = [root("target/kubernetes/bin"), root("target/prometheus/usr/bin")];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = own
            .into_iter()
            .chain(std::env::split_paths(&path))
            .map(|directory| directory.join(name))
            .find(|file| file.is_file());
        if found.is_none() {
            assert!(std::env::var_os("CI").is_none(), "{name} is needed in CI: tests/charts/tools");
            println!("\nSKIPPED: there is no {name}; tests/charts/tools installs it\n");
        }
        found.map(Self)
    }

    /// Runs it in the repository's root.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.0);
        command.args(arguments).current_dir(root("")).env_remove("KUBECONFIG").output().unwrap()
    }

    /// What it writes; it must succeed.
    pub(crate) fn output(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{arguments:?}\n{out}\n{err}");
        out.into_owned()
    }
}
