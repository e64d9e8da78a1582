//! Writes snapshots beside everything else: nobody waits for a disk.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{directory_of, trust};

/// Writes the newest snapshot, one at a time, for as long as it is held and until the last one is written.
#[derive(Debug)]
pub(in crate::remote::jwks) struct Writer(watch::Sender<Arc<[u8]>>);

impl Writer {
    /// Writes to `path`, on the runtime of `handle`, the snapshots of the issuer of that name.
    pub(in crate::remote::jwks) fn start(handle: &Handle, issuer: String, path: PathBuf) -> Self {
        let (newest, snapshots) = watch::channel(Arc::from([]));
        handle.spawn(write_each(issuer, Arc::from(path), snapshots));
        Self(newest)
    }

    /// Has this one written as soon as may be, instead of an older one that is not written yet.
    pub(in crate::remote::jwks) fn put(&self, document: Vec<u8>) {
        self.0.send_replace(document.into());
    }
}

async fn write_each(issuer: String, path: Arc<Path>, mut snapshots: watch::Receiver<Arc<[u8]>>) {
    let mut failing = false;
    while snapshots.changed().await.is_ok() {
        let (document, place) = (Arc::clone(&snapshots.borrow_and_update()), Arc::clone(&path));
        // On a thread of its own: a disk that hangs must not hold up the fetching of keys.
        let written = tokio::task::spawn_blocking(move || write(&place, &document)).await;
        let file = path.display();
        match written.unwrap_or_else(|ended| Err(io::Error::other(ended))) {
            Ok(()) if failing => {
                tracing::info!(%issuer, %file, "the snapshot of the issuer's keys can be written again")
            }
            Ok(()) => {}
            Err(_) if failing => continue,
            Err(cause) => {
                let help = "see that the gateway's user may write its directory and that the disk is not full";
                tracing::warn!(%issuer, %file, %cause, help, "the snapshot of the issuer's keys cannot be written");
                failing = true;
                continue;
            }
        }
        failing = false;
    }
}

/// Puts a new file in the place of `path`: whole or not at all, also through a loss of power.
fn write(path: &Path, document: &[u8]) -> io::Result<()> {
    let directory = directory_of(path);
    trust::make_directory(directory)?;
    // Made with mode 0600.
    let mut file = tempfile::Builder::new().prefix(".jwks-").tempfile_in(directory)?;
    file.write_all(document)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    File::open(directory)?.sync_all()
}
