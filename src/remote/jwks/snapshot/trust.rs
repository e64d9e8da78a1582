//! Who could have written a file: our user and root, or somebody else.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// That others cannot put files of theirs in the place of ours.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::Error::other("is no directory"));
    }
    if !is_ours(&metadata) {
        return Err(io::Error::other("belongs to another user"));
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 && metadata.mode() & STICKY == 0 {
        return Err(io::Error::other("may be written by others than its owner"));
    }
    Ok(())
}

/// That others have not written to the file.
pub(super) fn file(metadata: &Metadata) -> Result<(), &'static str> {
    if !is_ours(metadata) {
        return Err("belongs to another user");
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err("may be written by others than its owner");
    }
    Ok(())
}

/// Root may do everything anyway.
fn is_ours(metadata: &Metadata) -> bool {
    metadata.uid() == 0 || metadata.uid() == rustix::process::geteuid().as_raw()
}

/// A directory that is ours alone, where there is none.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
