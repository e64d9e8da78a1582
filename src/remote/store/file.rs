//! `file:`: what is kept survives the process, and a process that is killed.
//!
//! 1. Each change is on disk before it is told of: whoever was told of a session finds it after a crash.
//! 2. One process has the file. A second one is refused until the first has ended, and then has it without a restart.
//! 3. The disk is waited for on threads of its own, never by a worker, and by a request for [`PATIENCE`] at most. What it was to
//!    write by then may still be written.
//! 4. Ends are in the time of day, since they outlast the process. What is over is swept out as others are written.
//! 5. A gateway that ends closes the file, which then needs no mending: commands that only look can read it.

use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt as _;
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable as _, TableDefinition};
use tokio::runtime::Handle;

use super::{Asked, Given, Kind, Name, Store, StoreFault, Unseen};
use crate::remote::clock::{Clock, Elapsed};

/// By name: when it ends, in milliseconds since 1970, and what it is.
const ENTRIES: TableDefinition<'_, &[u8], (u64, &[u8])> = TableDefinition::new("entries");
/// By list and member: until when it stands there.
const LISTS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("lists");

/// How much of the file is held in memory, in bytes.
const CACHE: usize = 16 * 1024 * 1024;

/// How often it is swept at most.
const SWEEP: Duration = Duration::from_secs(60);

/// How long a call may take: a disk of the network may be gone for as long as it likes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the system says of a file that was never looked into.
const UNREACHED: [ErrorKind; 2] = [ErrorKind::NotFound, ErrorKind::PermissionDenied];

/// How many bytes a name has.
const NAME: usize = 33;

/// A store in a file.
pub struct FileStore {
    file: Arc<OneFile>,
    clock: Clock,
    /// Where its calls are made.
    control: Handle,
}

struct OneFile {
    path: PathBuf,
    /// Whoever uses the file holds this for reading, so that it is closed when nobody does.
    state: RwLock<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Unopened,
    Open(Opened),
    Closed,
}

struct Opened {
    database: Database,
    swept: Mutex<SystemTime>,
}

/// A time of day in milliseconds since 1970.
type Moment = u64;

impl FileStore {
    /// The store in that file, which is made where it is not there. It is opened when it is first asked.
    pub fn new(path: &Path, clock: &Clock, control: &Handle) -> Self {
        let file = OneFile { path: path.to_owned(), state: RwLock::default() };
        Self { file: Arc::new(file), clock: clock.clone(), control: control.clone() }
    }

    /// Does something with the file, away from the workers.
    fn with<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Opened, SystemTime) -> Result<T, redb::Error> + Send + 'static,
    ) -> Asked<'_, T> {
        let (file, now) = (Arc::clone(&self.file), self.clock.wall());
        let done = self.control.spawn_blocking(move || file.with(|opened| what(opened, now)));
        let limit = self.clock.now().after(PATIENCE);
        async move {
            match self.clock.until(limit, done).await {
                Ok(done) => done.unwrap_or_else(|_| Err(StoreFault::defect("a call of the store broke off"))),
                Err(Elapsed) => {
                    let help = "see why the disk of the file is slow or gone";
                    Err(StoreFault { why: "the disk does not answer".to_owned(), help })
                }
            }
        }
        .boxed()
    }
}

impl OneFile {
    /// Does something with the file, which whoever comes first opens.
    fn with<T>(&self, what: impl FnOnce(&Opened) -> Result<T, redb::Error>) -> Result<T, StoreFault> {
        if matches!(*self.reading(), State::Unopened) {
            let mut state = self.writing();
            if matches!(*state, State::Unopened) {
                *state = State::Open(self.open().map_err(|error| self.fault(&error))?);
            }
        }
        match &*self.reading() {
            State::Open(opened) => what(opened).map_err(|error| self.fault(&error)),
            State::Closed | State::Unopened => {
                Err(StoreFault { why: "the gateway ends".to_owned(), help: "nothing: its next start opens the file" })
            }
        }
    }

    /// Closes the file as soon as nobody uses it any more.
    fn close(&self) {
        *self.writing() = State::Closed;
    }

    fn reading(&self) -> RwLockReadGuard<'_, State> {
        // What it guards is whole after every step.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// For us alone: sealed or not, it is nobody else's.
    fn open(&self) -> Result<Opened, redb::Error> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        let database = Builder::new().set_cache_size(CACHE).create_with_backend(FileBackend::new(file)?)?;
        let begun = database.begin_write()?;
        begun.open_table(ENTRIES)?;
        begun.open_table(LISTS)?;
        begun.commit()?;
        Ok(Opened { database, swept: Mutex::new(SystemTime::UNIX_EPOCH) })
    }

    fn fault(&self, error: &redb::Error) -> StoreFault {
        let help = if matches!(error, redb::Error::DatabaseAlreadyOpen) {
            "one process has the file: end the other one, or keep sessions in `redis:`, which several gateways can share"
        } else if matches!(error, redb::Error::Io(why) if UNREACHED.contains(&why.kind())) {
            "make the file's directory, and let this user write there and into the file"
        } else {
            "see that the file is one of ours and whole; moved away, it is made anew, and users log in again"
        };
        StoreFault { why: format!("{}: {error}", self.path.display()), help }
    }
}

/// The entry of that name in the file at `path`, which is only read; none where there is no file.
pub(super) fn look(path: &Path, name: &Name, now: SystemTime) -> Result<Option<Bytes>, Unseen> {
    let read = Builder::new().set_cache_size(CACHE).open_read_only(path).map_err(redb::Error::from);
    match read.and_then(|database| entry(&database, &key(name), moment(now))) {
        Ok(entry) => Ok(entry),
        Err(redb::Error::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let help = if matches!(error, redb::Error::DatabaseAlreadyOpen) {
                "one process has the file, the running gateway: stop it meanwhile, or keep sessions in `redis:`"
            } else if matches!(error, redb::Error::RepairAborted) {
                "the gateway was killed: start it, which mends the file"
            } else {
                "see that the file is the gateway's, and that this user may read it"
            };
            Err(Unseen::Elsewhere { why: format!("{}: {error}", path.display()), help })
        }
    }
}

fn entry(database: &impl ReadableDatabase, name: &[u8], now: Moment) -> Result<Option<Bytes>, redb::Error> {
    let table = database.begin_read()?.open_table(ENTRIES)?;
    let found = table.get(name)?;
    Ok(found.and_then(|found| {
        let (until, entry) = found.value();
        (now < until).then(|| Bytes::copy_from_slice(entry))
    }))
}

impl Opened {
    /// Changes an entry, where `given` holds: to what ends at that moment, or to none.
    fn change(
        &self,
        name: &[u8],
        given: &Given,
        to: Option<(Moment, &[u8])>,
        now: Moment,
    ) -> Result<bool, redb::Error> {
        let begun = self.database.begin_write()?;
        let holds = {
            let mut table = begun.open_table(ENTRIES)?;
            let (holds, there) = {
                let found = table.get(name)?;
                let found = found.as_ref().map(|found| found.value()).filter(|(until, _)| now < *until);
                (given.holds(found.map(|(_, entry)| entry)), found.is_some())
            };
            match to {
                Some(to) if holds => {
                    table.insert(name, to)?;
                    true
                }
                None if holds && there => {
                    table.remove(name)?;
                    true
                }
                Some(_) | None => false,
            }
        };
        if !holds {
            begun.abort()?;
            return Ok(false);
        }
        begun.commit()?;
        Ok(true)
    }

    fn enlist(&self, list: &[u8], member: &[u8], until: Moment) -> Result<(), redb::Error> {
        let begun = self.database.begin_write()?;
        begun.open_table(LISTS)?.insert([list, member].concat().as_slice(), until)?;
        begun.commit()?;
        Ok(())
    }

    fn members(&self, list: &[u8], now: Moment) -> Result<Vec<Name>, redb::Error> {
        let table = self.database.begin_read()?.open_table(LISTS)?;
        let mut members = Vec::new();
        for found in
            table.range([list, &[0; NAME]].concat().as_slice()..=[list, &[u8::MAX; NAME]].concat().as_slice())?
        {
            let (key, until) = found?;
            let name = key.value().get(NAME + 1..).and_then(|hash| hash.try_into().ok());
            members.extend(name.filter(|_| now < until.value()).map(|hash| Name { kind: Kind::Session, hash }));
        }
        Ok(members)
    }

    /// Takes out what is over, once in a while.
    fn sweep(&self, now: SystemTime) -> Result<(), redb::Error> {
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if now.duration_since(*swept).is_ok_and(|since| since < SWEEP) {
                return Ok(());
            }
            *swept = now;
        }
        let now = moment(now);
        let begun = self.database.begin_write()?;
        begun.open_table(ENTRIES)?.retain(|_, (until, _)| now < until)?;
        begun.open_table(LISTS)?.retain(|_, until| now < until)?;
        begun.commit()?;
        Ok(())
    }
}

impl Store for FileStore {
    fn read(&self, name: Name) -> Asked<'_, Option<Bytes>> {
        self.with(move |file, now| entry(&file.database, &key(&name), moment(now)))
    }

    fn write(&self, name: Name, entry: Bytes, life: Duration, given: Given) -> Asked<'_, bool> {
        self.with(move |file, now| {
            file.sweep(now)?;
            file.change(&key(&name), &given, Some((end(now, life), &entry)), moment(now))
        })
    }

    fn remove(&self, name: Name, given: Given) -> Asked<'_, bool> {
        self.with(move |file, now| file.change(&key(&name), &given, None, moment(now)))
    }

    fn enlist(&self, list: Name, member: Name, life: Duration) -> Asked<'_, ()> {
        self.with(move |file, now| file.enlist(&key(&list), &key(&member), end(now, life)))
    }

    fn members(&self, list: Name) -> Asked<'_, Vec<Name>> {
        self.with(move |file, now| file.members(&key(&list), moment(now)))
    }

    fn close(&self) {
        let file = Arc::clone(&self.file);
        let (done, closed) = sync_channel(1);
        drop(self.control.spawn_blocking(move || {
            file.close();
            // Nobody may be waiting any more.
            let _ = done.send(());
        }));
        // A disk that hangs is not waited for without end: the process must end all the same.
        let _ = closed.recv_timeout(PATIENCE);
    }
}

fn key(name: &Name) -> [u8; NAME] {
    let mut key = [0; NAME];
    key[0] = match name.kind {
        Kind::Session => b's',
        Kind::Index => b'i',
        Kind::Mark => b'm',
    };
    key[1..].copy_from_slice(&name.hash);
    key
}

fn moment(time: SystemTime) -> Moment {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn end(now: SystemTime, life: Duration) -> Moment {
    moment(now).saturating_add(u64::try_from(life.as_millis()).unwrap_or(u64::MAX))
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileStore").field(&self.file.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const SESSION: Name = Name { kind: Kind::Session, hash: [1; 32] };

    #[tokio::test]
    async fn a_disk_that_hangs_is_not_waited_for_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let (clock, hands) = Clock::manual(SystemTime::now());
        let store = FileStore::new(&directory.path().join("state.db"), &clock, &Handle::current());
        assert_eq!(store.read(SESSION).await, Ok(None));
        // Of two who write the second waits for the first.
        let (_writing, go_on) = writing(&store);
        let write = store.write(SESSION, Bytes::from_static(b"1"), Duration::from_secs(60), Given::Any);
        hands.advance(PATIENCE);
        assert!(write.await.is_err());
        drop(go_on);
    }

    #[tokio::test]
    async fn a_file_is_closed_once_nobody_uses_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let (clock, _hands) = Clock::manual(SystemTime::now());
        let store = FileStore::new(&path, &clock, &Handle::current());
        let (written, go_on) = writing(&store);
        let closing = std::thread::spawn({
            let file = Arc::clone(&store.file);
            move || file.close()
        });
        assert!(matches!(look(&path, &SESSION, clock.wall()), Err(Unseen::Elsewhere { .. })), "it is in use");
        drop(go_on);
        assert_eq!(written.await, Ok(()));
        closing.join().unwrap();
        assert_eq!(look(&path, &SESSION, clock.wall()), Ok(None), "it needs no mending");
        let late = store.read(SESSION).await.unwrap_err();
        assert_eq!(late.why, "the gateway ends", "it is not opened again");
    }

    /// A call that writes until it may go on.
    fn writing(store: &FileStore) -> (Asked<'_, ()>, Sender<()>) {
        let (begun, has_begun) = channel();
        let (go_on, wait) = channel::<()>();
        let asked = store.with(move |file, _| {
            let writing = file.database.begin_write()?;
            begun.send(()).unwrap();
            // It is let go on by the other end's drop.
            let _ = wait.recv();
            writing.abort()?;
            Ok(())
        });
        has_begun.recv().unwrap();
        (asked, go_on)
    }
}
