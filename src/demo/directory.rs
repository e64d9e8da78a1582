//! The demo's files: its configuration and its tokens, in a directory that only its owner can read, gone when it ends.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A directory of one demo.
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes it among the temporary files.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn new() -> io::Result<Self> {
        let process = std::process::id();
        let mut number = 0_u32;
        loop {
            let path = std::env::temp_dir().join(format!("bearward-demo-{process}-{number}"));
            // Somebody else's directory of that name is never taken over: `create` fails where there is one.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it, and says where it is.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed stays among the temporary files: there is nobody left to tell.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_private_and_go_with_the_directory() {
        let (first, second) = (Directory::new().unwrap(), Directory::new().unwrap());
        assert_ne!(first.path(), second.path());
        let file = first.write("token", "text").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(first.path()), mode(&file)), (0o700, 0o600));
        drop(first);
        assert!(!file.exists());
    }
}
