//! Ports without a Redis.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpSocket;

use super::cache::TOKIO;

/// A port that serves every connection alike.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Port {
    /// Wait for a request, answer with `words` and hang up.
    pub(crate) fn that_says(words: &'static [u8]) -> Self {
        Self::start(move |mut socket| {
            let mut request = [0; 1024];
            // Errors are visible to the client only.
            let _ = socket.read(&mut request).and_then(|_| socket.write_all(words));
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.read_to_end(&mut Vec::new());
        })
    }

    /// Read every request and never answer.
    pub(crate) fn that_is_silent() -> Self {
        Self::start(|mut socket| {
            let _ = socket.read_to_end(&mut Vec::new());
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn start(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stopping);
        let acceptor = thread::spawn(move || {
            for socket in listener.incoming() {
                if stops.load(Ordering::Relaxed) {
                    return;
                }
                let (socket, serve) = (socket.unwrap(), serve.clone());
                // The thread ends with its connection.
                thread::spawn(move || serve(socket));
            }
        });
        Self { address, stopping, acceptor: Some(acceptor) }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // The acceptor sleeps in the kernel until a client connects.
        if TcpStream::connect(self.address).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

/// Reserve a port that refuses connections.
pub(crate) fn refusing() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let url = format!("redis://{}", socket.local_addr().unwrap());
    (socket, url)
}

/// Reserve a port that never answers a request to connect, because its queue is full.
pub(crate) fn unreachable() -> (tokio::net::TcpListener, Vec<TcpStream>, String) {
    let _tokio = TOKIO.enter();
    let (socket, url) = refusing();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
    let queue = std::iter::from_fn(connect).collect();
    (listener, queue, url)
}
