//! Lines on their way to a pipe, written by a thread of their own.
//!
//! Who adds a line never waits: the queue is bounded in lines and in bytes, and what does not fit is dropped and
//! counted. A pipe that stalls or is closed therefore costs lines, never a request. Lines that come together are written
//! together, up to [`GATHERING`] late: waking the thread and writing cost more than all the rest of a line.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::metrics::Dropped;

/// The entrance of the queue. Clones share it; the thread ends with the last one.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Entry>,
    waiting: Arc<AtomicUsize>,
    dropped: Dropped,
}

enum Entry {
    /// A whole line, its line feed included.
    Line(Vec<u8>),
    /// Answered when everything before it was written or given up.
    Flush(SyncSender<()>),
}

/// How many lines may wait.
const MAX_LINES: usize = 16 * 1024;
/// How many bytes may wait.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// How many bytes are gathered for one write.
const BATCH_BYTES: usize = 64 * 1024;
/// How long the first line of a write waits for others.
const GATHERING: Duration = Duration::from_millis(10);

impl Lines {
    /// Starts the thread that writes to `out`; `name` is the thread's.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(super) fn start(name: &str, out: impl Write + Send + 'static, dropped: Dropped) -> io::Result<Self> {
        let (queue, entries) = sync_channel(MAX_LINES);
        let waiting = Arc::new(AtomicUsize::new(0));
        let lines = Self { queue, waiting: Arc::clone(&waiting), dropped: dropped.clone() };
        thread::Builder::new().name(name.to_owned()).spawn(move || write(&entries, out, &waiting, &dropped))?;
        Ok(lines)
    }

    /// Adds a whole line, or drops it where the queue is full.
    pub(super) fn add(&self, line: Vec<u8>) {
        let length = line.len();
        let before = self.waiting.fetch_add(length, Ordering::Relaxed);
        if before.saturating_add(length) > MAX_BYTES || self.queue.try_send(Entry::Line(line)).is_err() {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
            self.dropped.add(1);
        }
    }

    /// Waits until what was added before is written, at most `limit`. Blocks its thread: for the end of the process.
    pub(super) fn flush(&self, limit: Duration) {
        // Past the limit the pipe stalls: the process must end all the same.
        let deadline = Instant::now() + limit;
        let (done, wait) = sync_channel(1);
        while let Err(TrySendError::Full(_)) = self.queue.try_send(Entry::Flush(done.clone())) {
            if Instant::now() >= deadline {
                return;
            }
            thread::sleep(GATHERING);
        }
        let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn write(entries: &Receiver<Entry>, mut out: impl Write, waiting: &AtomicUsize, dropped: &Dropped) {
    while let Ok(first) = entries.recv() {
        thread::sleep(GATHERING);
        let mut next = Some(first);
        while let Some(first) = next {
            let Batch { bytes, lines, flushes } = Batch::of(first, entries);
            if out.write_all(&bytes).and_then(|()| out.flush()).is_err() {
                dropped.add(lines);
            }
            waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
            for done in flushes {
                // Who waited may have given up.
                let _ = done.try_send(());
            }
            next = entries.try_recv().ok();
        }
    }
}

/// What is written at once.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    /// Who waits until it is written.
    flushes: Vec<SyncSender<()>>,
}

impl Batch {
    /// `first`, and what is queued behind it.
    fn of(first: Entry, entries: &Receiver<Entry>) -> Self {
        let mut batch = Self::default();
        let mut next = Some(first);
        while let Some(entry) = next {
            match entry {
                Entry::Line(line) => {
                    batch.bytes.extend_from_slice(&line);
                    batch.lines += 1;
                }
                Entry::Flush(done) => batch.flushes.push(done),
            }
            next = if batch.bytes.len() < BATCH_BYTES { entries.try_recv().ok() } else { None };
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A pipe that takes what it is given, once it was let.
    struct Gate {
        entered: Sender<()>,
        open: Receiver<io::Result<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.entered.send(());
            self.open.recv().unwrap_or(Ok(()))?;
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a test holds of a [`Gate`].
    struct Keeper {
        /// Hears of each write as it begins.
        entered: Receiver<()>,
        /// Says how each write ends; once dropped, all end well.
        opener: Sender<io::Result<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    fn gate() -> (Gate, Keeper) {
        let (entering, entered) = channel();
        let (opener, open) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        (Gate { entered: entering, open, written: Arc::clone(&written) }, Keeper { entered, opener, written })
    }

    #[test]
    fn lines_come_out_whole_in_order_and_together() {
        let (gate, Keeper { entered, opener, written }) = gate();
        drop(opener);
        let lines = Lines::start("test", gate, Dropped::counted()).unwrap();
        for number in 0..100 {
            lines.add(format!("{number}\n").into_bytes());
        }
        lines.flush(SOON);
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8(written.lock().unwrap().clone()).unwrap(), expected);
        // One, but where this thread is held up on the way.
        let writes = entered.try_iter().count();
        assert!(writes < 50, "{writes} writes");
    }

    #[test]
    fn a_pipe_that_stalls_costs_lines_and_no_time() {
        let (gate, Keeper { entered, opener, written }) = gate();
        let dropped = Dropped::counted();
        let lines = Lines::start("test", gate, dropped.clone()).unwrap();
        lines.add(b"first\n".to_vec());
        entered.recv_timeout(SOON).unwrap();

        // The writer stands in its first write: exactly the queue's length still fits.
        for _ in 0..MAX_LINES + 10 {
            lines.add(b"x\n".to_vec());
        }
        assert_eq!(dropped.count(), 10);

        // A flush waits for its place in the queue, too, and no longer than it may.
        lines.flush(Duration::from_millis(1));
        drop(opener);
        lines.flush(SOON);
        assert_eq!(written.lock().unwrap().len(), b"first\n".len() + 2 * MAX_LINES);
        lines.add(b"last\n".to_vec());
        lines.flush(SOON);
        assert!(written.lock().unwrap().ends_with(b"x\nlast\n"));
        assert_eq!(dropped.count(), 10);
    }

    #[test]
    fn the_queue_is_bounded_in_bytes() {
        let (gate, Keeper { entered, opener: _closed, .. }) = gate();
        let dropped = Dropped::counted();
        let lines = Lines::start("test", gate, dropped.clone()).unwrap();
        lines.add(vec![b'x'; MAX_BYTES / 2]);
        entered.recv_timeout(SOON).unwrap();
        // What is being written counts until it is written.
        lines.add(vec![b'x'; MAX_BYTES / 2]);
        assert_eq!(dropped.count(), 0);
        lines.add(vec![b'x'; 1]);
        assert_eq!(dropped.count(), 1);
    }

    #[test]
    fn a_pipe_that_is_closed_costs_lines_only() {
        let (gate, Keeper { entered: _entered, opener, written }) = gate();
        let dropped = Dropped::counted();
        let lines = Lines::start("test", gate, dropped.clone()).unwrap();
        opener.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        lines.add(b"lost\n".to_vec());
        lines.flush(SOON);
        assert_eq!(dropped.count(), 1);
        opener.send(Ok(())).unwrap();
        lines.add(b"kept\n".to_vec());
        lines.flush(SOON);
        assert_eq!(*written.lock().unwrap(), b"kept\n");
        assert_eq!(dropped.count(), 1);
    }
}
