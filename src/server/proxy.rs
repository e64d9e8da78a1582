//! The PROXY protocol, versions 1 and 2: what a proxy that passes bytes on says first about the client behind it.
//!
//! Exactly the header is taken from the socket, so that what follows begins with its own first byte. A header is at most 107
//! bytes of text (version 1), or [`LONGEST`] bytes in all (version 2); its further fields (TLV) are passed over. A proxy that
//! connects for itself (`LOCAL`, `UNKNOWN`), or for a client without an IP address, is the client.
//!
//! The specification: <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use ppp::{v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::telemetry::labels::ConnectionFault;

/// The longest header of version 2. Addresses take 36 bytes; the rest is what proxies tell of TLS.
const LONGEST: usize = 4096;
/// The longest header of version 1, its line end included.
const LONGEST_LINE: usize = 107;

/// Reads the header; the client's address where it names one.
pub(super) async fn header(socket: &mut TcpStream) -> Result<Option<SocketAddr>, ConnectionFault> {
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    socket.read_exact(&mut header).await.map_err(|error| broken(&error))?;
    if header == v2::PROTOCOL_PREFIX { binary(socket, header).await } else { text(socket, header).await }
}

async fn binary(socket: &mut TcpStream, mut header: Vec<u8>) -> Result<Option<SocketAddr>, ConnectionFault> {
    let mut fixed = [0; 4];
    socket.read_exact(&mut fixed).await.map_err(|error| broken(&error))?;
    let [.., high, low] = fixed;
    header.extend(fixed);
    let begun = header.len();
    let length = begun + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(ConnectionFault::ProxyMalformed);
    }
    header.resize(length, 0);
    socket.read_exact(&mut header[begun..]).await.map_err(|error| broken(&error))?;

    let header = v2::Header::try_from(header.as_slice()).map_err(|_| ConnectionFault::ProxyMalformed)?;
    match (header.command, header.protocol) {
        (v2::Command::Local, _) | (v2::Command::Proxy, v2::Protocol::Unspecified) => return Ok(None),
        // What comes in by TCP does not stand for a datagram.
        (v2::Command::Proxy, v2::Protocol::Datagram) => return Err(ConnectionFault::ProxyMalformed),
        (v2::Command::Proxy, v2::Protocol::Stream) => {}
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(ends) => Some((ends.source_address, ends.source_port).into()),
        v2::Addresses::IPv6(ends) => Some((ends.source_address, ends.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    })
}

async fn text(socket: &mut TcpStream, mut header: Vec<u8>) -> Result<Option<SocketAddr>, ConnectionFault> {
    if !header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        return Err(ConnectionFault::ProxyMalformed);
    }
    while header.last() != Some(&b'\n') {
        let mut ahead = [0; LONGEST_LINE];
        let room = LONGEST_LINE.saturating_sub(header.len());
        if room == 0 {
            return Err(ConnectionFault::ProxyMalformed);
        }
        let seen = socket.peek(&mut ahead[..room]).await.map_err(|error| broken(&error))?;
        let seen = &ahead[..seen];
        if seen.is_empty() {
            return Err(ConnectionFault::ClientClosed);
        }
        // What was seen without a line's end is all of it the header's.
        let own = seen.iter().position(|byte| *byte == b'\n').map_or(seen.len(), |end| end + 1);
        let begun = header.len();
        header.resize(begun + own, 0);
        socket.read_exact(&mut header[begun..]).await.map_err(|error| broken(&error))?;
    }
    let header = v1::Header::try_from(header.as_slice()).map_err(|_| ConnectionFault::ProxyMalformed)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(ends) => Some((ends.source_address, ends.source_port).into()),
        v1::Addresses::Tcp6(ends) => Some((ends.source_address, ends.source_port).into()),
        v1::Addresses::Unknown => None,
    })
}

fn broken(error: &io::Error) -> ConnectionFault {
    if error.kind() == ErrorKind::UnexpectedEof { ConnectionFault::ClientClosed } else { ConnectionFault::Socket }
}
