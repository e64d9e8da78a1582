//! Sockets that listen.
//!
//! Each worker has a socket of its own per address (SO_REUSEPORT), so that the kernel spreads connections and no worker
//! waits for another. That option alone would let a second process of ours take half of the connections unnoticed:
//! the first socket of an address is therefore bound without it, which fails where anybody listens there, and only
//! then opened for the others.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::StartFault;
use crate::remote::keepalive::{GONE, keepalive};

/// Connections that the kernel holds for us between two accepts.
const BACKLOG: i32 = 1024;

/// What was bound.
pub(super) struct Bound {
    /// The addresses with their ports, in the order of the configuration.
    pub(super) addresses: Vec<SocketAddr>,
    /// For each worker a socket per address, in the same order.
    pub(super) sockets: Vec<Vec<TcpListener>>,
}

/// Binds every address once for each worker.
pub(super) fn bind_all(listen: &[SocketAddr], workers: usize) -> Result<Bound, StartFault> {
    let mut bound = Bound { addresses: Vec::new(), sockets: (0..workers).map(|_| Vec::new()).collect() };
    for address in listen {
        let mut taken = None;
        for sockets in &mut bound.sockets {
            let socket = match taken {
                None => exclusive(*address),
                Some(port) => shared(port),
            };
            let socket = socket.map_err(|error| StartFault::Listen { address: *address, error })?;
            taken = Some(socket.local_addr().map_err(|error| StartFault::Listen { address: *address, error })?);
            sockets.push(socket);
        }
        bound.addresses.extend(taken);
    }
    Ok(bound)
}

/// Binds one address once.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, StartFault> {
    exclusive(address).map_err(|error| StartFault::Listen { address, error })
}

/// The first socket of an address: bound alone, then opened for ours.
fn exclusive(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = unbound(address)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A further socket of an address that is ours already.
fn shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = unbound(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of our predecessor in TIME_WAIT must not keep us from starting.
    socket.set_reuse_address(true)?;
    // Inherited by the connections that are accepted.
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_tcp_user_timeout(Some(GONE))?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` may both be configured.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn a_client_that_is_gone_is_noticed() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn workers_share_a_port_that_nobody_else_can_take() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        // It never listens, and keeps the port ours while nobody does.
        let reservation = unbound(any).unwrap();
        reservation.bind(&any.into()).unwrap();
        let address = reservation.local_addr().unwrap().as_socket().unwrap();
        let bound = bind_all(&[address], 3).unwrap();
        assert_eq!(bound.addresses, [address]);
        let ports: Vec<_> = bound.sockets.iter().flatten().map(|socket| socket.local_addr().unwrap()).collect();
        assert_eq!(ports, [address; 3]);

        let refused = bind_all(&[address], 3).map(|_| ()).unwrap_err();
        assert!(
            matches!(&refused, StartFault::Listen { error, .. } if error.kind() == io::ErrorKind::AddrInUse),
            "{refused}"
        );
        drop(bound);
        bind_all(&[address], 3).unwrap();
    }
}
