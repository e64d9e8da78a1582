//! The files that a configuration hangs on, as they were when it was read, and whether they are so still.
//!
//! They are looked at by their names, whole and each time anew: whoever exchanges a file by a rename, a directory, or a link
//! to either (as Kubernetes does for a whole volume at once) is seen like one who writes into it, on every file system.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

/// What stands in these files. Two are equal where the same stands in the same files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Seen>);

/// One file.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    /// No more of it is read.
    longest: u64,
    state: State,
}

/// What of a file decides whether and how it can be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is not there, cannot be read, or is no file.
    Nothing,
    Content {
        digest: Digest,
        world_readable: bool,
    },
}

/// The SHA-256 of a file's bytes.
pub type Digest = [u8; 32];

/// A file that was read.
pub(super) struct Found {
    /// Its bytes, one more than were wanted at most; none where it is no file.
    pub(super) bytes: Vec<u8>,
    pub(super) metadata: Metadata,
}

impl Files {
    /// Reads a file, at most one byte more than `longest`, and keeps in mind what stood there.
    pub(super) fn read(&mut self, path: &Path, longest: u64) -> io::Result<Found> {
        let found = read(path, longest);
        let state = found.as_ref().map_or(State::Nothing, State::of);
        self.0.insert(path.to_owned(), Seen { longest, state });
        found
    }

    /// Takes a file out of mind: whatever becomes of it, this hangs on it no more.
    pub(super) fn forget(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// What stands in the same files now.
    #[must_use]
    pub fn look_again(&self) -> Self {
        let mut files = Self::default();
        for (path, seen) in &self.0 {
            // That it cannot be read is kept in mind too.
            let _ = files.read(path, seen.longest);
        }
        files
    }

    /// The files that hold something else than in `before`, or that were not among them.
    pub fn changed_since<'f>(&'f self, before: &'f Self) -> impl Iterator<Item = &'f Path> {
        self.0.iter().filter(|(path, seen)| before.0.get(*path) != Some(seen)).map(|(path, _)| path.as_path())
    }
}

impl State {
    fn of(found: &Found) -> Self {
        if !found.metadata.is_file() {
            return Self::Nothing;
        }
        Self::Content { digest: sha256(&found.bytes), world_readable: is_world_readable(&found.metadata) }
    }
}

/// The names alone: a digest of a short secret tells too much of it.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn read(path: &Path, longest: u64) -> io::Result<Found> {
    // A pipe would be waited for, and read away from whoever it is for.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Ok(Found { bytes: Vec::new(), metadata });
    }
    // What is judged and what is read is one open file, whatever becomes of the name meanwhile.
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    if metadata.is_file() {
        (&mut file).take(longest.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    Ok(Found { bytes, metadata })
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut sum = Digest::default();
    // SHA-256 has as many bytes; shorter or longer it would be another function.
    for (to, from) in sum.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    sum
}

#[cfg(unix)]
pub(super) fn is_world_readable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o004 != 0
}

/// Elsewhere permissions are not a mode; the system's own lists apply.
#[cfg(not(unix))]
pub(super) fn is_world_readable(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// What a change of the directory comes to: whether it is seen.
    fn check(what: &str, before: impl Fn(&Path), change: impl Fn(&Path), expected: bool) {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        before(directory);
        let mut files = Files::default();
        let _ = files.read(&directory.join("a"), 1000);
        assert!(files.look_again() == files, "{what}: before the change");
        change(directory);
        let now = files.look_again();
        assert_eq!(now != files, expected, "{what}");
        let changed: Vec<_> = now.changed_since(&files).collect();
        assert_eq!(changed, if expected { vec![directory.join("a")] } else { Vec::new() }, "{what}");
        assert!(now.look_again() == now, "{what}: after the change");
    }

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    #[test]
    fn every_way_to_exchange_a_file_is_seen() {
        let one = |at: &Path| write(&at.join("a"), "one");
        check("nothing", one, |_| {}, false);
        check("written with the same", one, one, false);
        check("written", one, |at| write(&at.join("a"), "two"), true);
        check(
            "touched",
            one,
            |at| File::open(at.join("a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap(),
            false,
        );
        check("gone", one, |at| fs::remove_file(at.join("a")).unwrap(), true);
        check("came", |_| {}, one, true);
        check("still missing", |_| {}, |at| write(&at.join("b"), "two"), false);
        let renamed = |text: &'static str| {
            move |at: &Path| {
                write(&at.join("a.new"), text);
                fs::rename(at.join("a.new"), at.join("a")).unwrap();
            }
        };
        check("renamed over", one, renamed("two"), true);
        check("renamed over with the same", one, renamed("one"), false);
        let opened = |at: &Path| fs::set_permissions(at.join("a"), fs::Permissions::from_mode(0o604)).unwrap();
        check(
            "opened to all",
            |at| {
                one(at);
                fs::set_permissions(at.join("a"), fs::Permissions::from_mode(0o600)).unwrap()
            },
            opened,
            true,
        );
        check(
            "a directory now",
            one,
            |at| {
                fs::remove_file(at.join("a")).unwrap();
                fs::create_dir(at.join("a")).unwrap()
            },
            true,
        );
        check(
            "beyond what is read",
            |at| write(&at.join("a"), &"x".repeat(1001)),
            |at| write(&at.join("a"), &"x".repeat(2000)),
            false,
        );
    }

    #[test]
    fn links_are_followed_at_every_step() {
        // As Kubernetes mounts a ConfigMap: a -> ..data/a, ..data -> ..1.
        let volume = |at: &Path| {
            fs::create_dir(at.join("..1")).unwrap();
            write(&at.join("..1/a"), "one");
            symlink("..1", at.join("..data")).unwrap();
            symlink("..data/a", at.join("a")).unwrap();
        };
        let swap = |text: &'static str| {
            move |at: &Path| {
                fs::create_dir(at.join("..2")).unwrap();
                write(&at.join("..2/a"), text);
                symlink("..2", at.join("..new")).unwrap();
                fs::rename(at.join("..new"), at.join("..data")).unwrap();
                fs::remove_dir_all(at.join("..1")).unwrap();
            }
        };
        check("the volume was exchanged", volume, swap("two"), true);
        check("the volume was exchanged for the same", volume, swap("one"), false);
        check("the volume is gone", volume, |at| fs::remove_file(at.join("..data")).unwrap(), true);
        check("written where the link leads", volume, |at| write(&at.join("..1/a"), "two"), true);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut files = Files::default();
        assert!(files.read(&path, 10).unwrap().bytes.is_empty());
        assert!(files.look_again() == files);
    }

    #[test]
    fn no_digest_is_told() {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("a"), "secret");
        let mut files = Files::default();
        files.read(&directory.path().join("a"), 10).unwrap();
        assert_eq!(format!("{files:?}"), format!("{{{:?}}}", directory.path().join("a")));
    }
}
