//! A wire between a browser and the gateway that keeps what goes to the browser.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The wire. Dropped, it is cut.
pub struct Tap {
    listener: Option<TcpListener>,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    carrying: Option<JoinHandle<()>>,
}

impl Tap {
    /// A wire that leads nowhere yet.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener: Some(listener), address, seen: Arc::default(), carrying: None }
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Leads to that address.
    pub fn lead(&mut self, to: SocketAddr) {
        let (listener, seen) = (self.listener.take().unwrap(), Arc::clone(&self.seen));
        self.carrying = Some(tokio::spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((browser, _)) = listener.accept().await {
                wires.spawn(carry(browser, to, Arc::clone(&seen)));
                while wires.try_join_next().is_some() {}
            }
        }));
    }

    /// All that went to the browser.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(carrying) = &self.carrying {
            carrying.abort();
        }
    }
}

async fn carry(browser: TcpStream, to: SocketAddr, seen: Arc<Mutex<Vec<u8>>>) {
    let Ok(gateway) = TcpStream::connect(to).await else { return };
    let ((mut from_browser, mut to_browser), (mut from_gateway, mut to_gateway)) =
        (browser.into_split(), gateway.into_split());
    let up = async {
        let _ = tokio::io::copy(&mut from_browser, &mut to_gateway).await;
        let _ = to_gateway.shutdown().await;
    };
    let down = async {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from_gateway.read(&mut bytes).await {
            seen.lock().unwrap().extend_from_slice(&bytes[..read]);
            if to_browser.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
        let _ = to_browser.shutdown().await;
    };
    tokio::join!(up, down);
}
