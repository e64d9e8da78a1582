//! What the process logs, for tests that read it.
//!
//! The lines of all tests are in one place: a subscriber for one thread alone would miss what other threads were the first to
//! log. A test tells its own lines by a name that no other test uses.

use std::io::{Result, Write};
use std::sync::{Mutex, Once, PoisonError};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Keeps what the library logs from now on.
pub fn keep() {
    static KEEPING: Once = Once::new();
    KEEPING.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter("bearward=info")
            .with_ansi(false)
            .without_time()
            .with_writer(|| Lines)
            .init();
    });
}

/// The lines so far that hold `part`.
pub fn lines_with(part: &str) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = std::str::from_utf8(&lines).expect("log lines are UTF-8");
    lines.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
}

/// How much has been logged so far, for [`since`].
pub fn mark() -> usize {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// What all tests have logged since that mark.
pub fn since(mark: usize) -> String {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8(lines[mark..].to_vec()).expect("log lines are UTF-8")
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
