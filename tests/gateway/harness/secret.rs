//! A secret in a file that only its owner may read, as a configuration names it.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

/// The file; it goes with the value.
pub struct SecretFile(TempDir);

const FILE: &str = "secret";

impl SecretFile {
    pub fn new(text: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join(FILE);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self(directory)
    }

    /// The value of an option that is a secret.
    pub fn toml(&self) -> String {
        format!("{{ file = \"{}\" }}", self.0.path().join(FILE).display())
    }
}
