//! A port of loopback that is ours: the system gives it to nobody else, whether or not somebody listens on it. A server that is
//! down is down for good, then, however many others start beside it.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// The port. Dropped, it is anybody's.
pub struct Port {
    address: SocketAddr,
    /// It never listens: until somebody does, connections are refused.
    _reservation: Socket,
}

impl Port {
    pub fn reserve() -> Self {
        let reservation = bind(unbound(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = reservation.local_addr().unwrap().as_socket().unwrap();
        Self { address, _reservation: reservation }
    }

    /// The port on which a gateway listens: it stays when the gateway does no more.
    pub fn of_gateway(address: SocketAddr) -> Self {
        let socket = unbound();
        // Where somebody listens already, it can be shared only so.
        socket.set_reuse_port(true).unwrap();
        Self { address, _reservation: bind(socket, address) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens, one at a time. So may another process, if it lets its address be reused.
    pub fn listen(&self) -> TcpListener {
        let socket = bind(unbound(), self.address);
        socket.listen(1024).unwrap();
        TcpListener::from_std(socket.into()).unwrap()
    }
}

/// Reused, the address can be shared by its reservation and one who listens.
fn unbound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn bind(socket: Socket, address: SocketAddr) -> Socket {
    socket.bind(&address.into()).unwrap();
    socket
}
