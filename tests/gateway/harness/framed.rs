//! An upstream of HTTP/2 that writes its frames by hand, so that it can say what no library lets it say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, block, frame};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A frame that came, or the end of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// The head of a request; whether it is all of it.
    Head { connection: usize, stream: u32, whole: bool },
    /// A piece of its body.
    Data { connection: usize, stream: u32, bytes: Vec<u8>, last: bool },
    /// `RST_STREAM`, with its error code (RFC 9113 section 7).
    Reset { connection: usize, stream: u32, code: u32 },
    /// The connection has ended.
    End { connection: usize },
}

/// The upstream. Dropped, it takes no more connections.
pub struct Framed {
    address: SocketAddr,
    came: watch::Sender<Vec<Came>>,
    accepting: JoinHandle<()>,
}

/// What becomes of the connection after something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    GoesOn,
    Closes,
    /// By a reset, which may overtake what was written.
    Resets,
}

impl Framed {
    /// An upstream that writes, at each frame that comes, the bytes that `script` says; none: it closes.
    pub async fn start(script: impl Fn(&Came) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::ending(move |came| script(came).map_or((Vec::new(), Then::Closes), |bytes| (bytes, Then::GoesOn))).await
    }

    /// The same, whose `script` also says what becomes of the connection then.
    pub async fn ending(script: impl Fn(&Came) -> (Vec<u8>, Then) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let came = watch::Sender::new(Vec::new());
        let (for_task, script) = (came.clone(), Arc::new(script));
        let accepting = tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (came, script) = (for_task.clone(), Arc::clone(&script));
                tokio::spawn(async move {
                    serve(stream, connection, &came, &*script).await;
                    came.send_modify(|came| came.push(Came::End { connection }));
                });
            }
        });
        Self { address, came, accepting }
    }

    pub fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// What came so far.
    pub fn came(&self) -> Vec<Came> {
        self.came.borrow().clone()
    }

    /// The heads of requests so far: connection and stream.
    pub fn heads(&self) -> Vec<(usize, u32)> {
        let head = |came: &Came| match came {
            Came::Head { connection, stream, .. } => Some((*connection, *stream)),
            Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => None,
        };
        self.came.borrow().iter().filter_map(head).collect()
    }

    /// Returns once this has come.
    pub async fn until(&self, what: impl Fn(&Came) -> bool) {
        self.until_times(1, what).await;
    }

    /// Returns once this has come so often.
    pub async fn until_times(&self, times: usize, what: impl Fn(&Came) -> bool) {
        let mut came = self.came.subscribe();
        let there = came.wait_for(|came| came.iter().filter(|came| what(came)).count() >= times);
        tokio::time::timeout(PATIENCE, there).await.expect("it comes").unwrap();
    }
}

impl Drop for Framed {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    came: &watch::Sender<Vec<Came>>,
    script: &(dyn Fn(&Came) -> (Vec<u8>, Then) + Send + Sync),
) {
    let mut preface = [0; 24];
    if stream.read_exact(&mut preface).await.is_err() || stream.write_all(&settings(&[])).await.is_err() {
        return;
    }
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l1, l2, l3]) as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            return;
        }
        let (number, last) = (u32::from_be_bytes([s1, s2, s3, s4]), flags & END_STREAM != 0);
        let one = match kind {
            DATA => Came::Data { connection, stream: number, bytes: payload, last },
            HEADERS => Came::Head { connection, stream: number, whole: last },
            RST_STREAM => {
                Came::Reset { connection, stream: number, code: u32::from_be_bytes(payload.try_into().unwrap()) }
            }
            _ => continue,
        };
        let (bytes, then) = script(&one);
        came.send_modify(|came| came.push(one));
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        match then {
            Then::GoesOn => {}
            Then::Closes => {
                // Closed over unread bytes, the socket would be reset.
                let _ = stream.shutdown().await;
                while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
                return;
            }
            Then::Resets => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
        }
    }
}

/// `NO_ERROR`
pub const NO_ERROR: u32 = 0;
/// `INTERNAL_ERROR`
pub const INTERNAL_ERROR: u32 = 2;
/// `REFUSED_STREAM`
pub const REFUSED_STREAM: u32 = 7;
/// `CANCEL`
pub const CANCEL: u32 = 8;

/// `SETTINGS` of these parameters.
pub fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = parameters
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// The head of an answer, or its trailers.
pub fn head(stream: u32, fields: &[(&str, &str)], last: bool) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | if last { END_STREAM } else { 0 }, stream, &block(fields))
}

/// A piece of its body.
pub fn data(stream: u32, bytes: &[u8], last: bool) -> Vec<u8> {
    frame(DATA, if last { END_STREAM } else { 0 }, stream, bytes)
}

/// 200 with this body.
pub fn answer(stream: u32, text: &str) -> Vec<u8> {
    [head(stream, &[(":status", "200")], false), data(stream, text.as_bytes(), true)].concat()
}

/// `RST_STREAM` with this error code.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// `GOAWAY`: the last stream that was or will be processed, and an error code.
pub fn go_away(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}
