//! A client of HTTP/2 that writes its frames by hand, so that it can say what no client library lets it say.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a stream came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An answer; its body.
    Answer(Vec<u8>),
    /// `RST_STREAM` with this error code (RFC 9113 section 7).
    Reset(u32),
    /// The connection ended, by `GOAWAY` with this error code or, without one, by a close.
    Ended(Option<u32>),
}

/// One connection. Its requests have no body, and are sent one after the other.
pub struct Frames {
    stream: TcpStream,
    last: u32,
}

impl Frames {
    pub async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Self { stream, last: 0 }
    }

    /// Sends a request of exactly these fields, pseudo-fields included, and reads what comes of it.
    pub async fn ask(&mut self, fields: &[(&str, &str)]) -> Heard {
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
        let head = frame(HEADERS, END_STREAM | END_HEADERS, self.last, &block);
        self.stream.write_all(&head).await.unwrap();
        tokio::time::timeout(PATIENCE, self.hear()).await.expect("the gateway answers or ends it")
    }

    async fn hear(&mut self) -> Heard {
        let mut body = Vec::new();
        loop {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).await.is_err() {
                return Heard::Ended(None);
            }
            let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, l1, l2, l3]) as usize];
            self.stream.read_exact(&mut payload).await.unwrap();
            let ours = u32::from_be_bytes([s1, s2, s3, s4]) == self.last;
            match kind {
                DATA if ours => body.extend(payload),
                RST_STREAM if ours => return Heard::Reset(number(&payload[..4])),
                GOAWAY => return Heard::Ended(Some(number(&payload[4..8]))),
                _ => {}
            }
            if ours && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return Heard::Answer(body);
            }
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, l1, l2, l3] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let [s1, s2, s3, s4] = stream.to_be_bytes();
    [&[l1, l2, l3, kind, flags, s1, s2, s3, s4], payload].concat()
}

/// A field in HPACK, neither indexed nor compressed (RFC 7541 section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
    [&[0, short(name)], name.as_bytes(), &[short(value)], value.as_bytes()].concat()
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}
