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

/// One connection.
pub struct Frames {
    stream: TcpStream,
    last: u32,
}

impl Frames {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[]).await
    }

    /// The same with settings of its own: each a number (RFC 9113 section 6.5.2) and a value.
    pub async fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let settings =
            settings.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
        stream.write_all(&frame(SETTINGS, 0, 0, &settings.collect::<Vec<u8>>())).await.unwrap();
        Self { stream, last: 0 }
    }

    /// Sends a request of exactly these fields, pseudo-fields included, without a body, and reads what comes of it.
    pub async fn ask(&mut self, fields: &[(&str, &str)]) -> Heard {
        let stream = self.begin(fields).await;
        self.hear(stream).await
    }

    /// Sends a request of exactly these fields, pseudo-fields included, without a body: its stream.
    pub async fn begin(&mut self, fields: &[(&str, &str)]) -> u32 {
        let stream = self.next();
        self.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields))).await;
        stream
    }

    /// The number of the last stream; 0 where there is none.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// The number of a stream that was not used yet.
    pub fn next(&mut self) -> u32 {
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        self.last
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends these bytes as often as it can until the gateway ends the connection, at most so many times. What the gateway
    /// sends meanwhile is not read.
    pub async fn flood(&mut self, times: usize, bytes: impl FnMut(&mut Self) -> Vec<u8>) {
        self.flood_until(PATIENCE, times, bytes).await;
    }

    /// The same until the gateway takes no more for so long: how often.
    pub async fn flood_until(
        &mut self,
        taken_no_more: Duration,
        times: usize,
        mut bytes: impl FnMut(&mut Self) -> Vec<u8>,
    ) -> usize {
        for sent in 0..times {
            let bytes = bytes(self);
            let written = tokio::time::timeout(taken_no_more, self.stream.write_all(&bytes)).await;
            if !matches!(written, Ok(Ok(()))) {
                return sent;
            }
        }
        times
    }

    /// Reads what comes of a stream.
    pub async fn hear(&mut self, stream: u32) -> Heard {
        tokio::time::timeout(PATIENCE, self.heard(Some(stream))).await.expect("the gateway answers or ends it")
    }

    /// Reads how the connection ends.
    pub async fn ended(&mut self) -> Option<u32> {
        match tokio::time::timeout(PATIENCE, self.heard(None)).await.expect("the gateway ends it") {
            Heard::Ended(code) => code,
            heard @ (Heard::Answer(_) | Heard::Reset(_)) => panic!("{heard:?} on no stream"),
        }
    }

    async fn heard(&mut self, stream: Option<u32>) -> Heard {
        let mut body = Vec::new();
        loop {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).await.is_err() {
                return Heard::Ended(None);
            }
            let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, l1, l2, l3]) as usize];
            if self.stream.read_exact(&mut payload).await.is_err() {
                return Heard::Ended(None);
            }
            let ours = Some(u32::from_be_bytes([s1, s2, s3, s4])) == stream;
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

// Kinds of frames and their flags (RFC 9113 section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, l1, l2, l3] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let [s1, s2, s3, s4] = stream.to_be_bytes();
    [&[l1, l2, l3, kind, flags, s1, s2, s3, s4], payload].concat()
}

/// Fields in HPACK, neither indexed nor compressed.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// A field in HPACK, neither indexed nor compressed (RFC 7541 section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
    [&[0, short(name)], name.as_bytes(), &[short(value)], value.as_bytes()].concat()
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}
