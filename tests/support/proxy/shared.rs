//! The state of a proxy that its threads share.

use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A direction through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Notified when bytes are released and when the proxy stops.
    pub(super) changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ways: [Way; 2],
    pub(super) round_trips: u64,
    pub(super) commands: Vec<Vec<Vec<u8>>>,
    pub(super) connections: usize,
    pub(super) sockets: Vec<TcpStream>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) refusing: bool,
    pub(super) stopping: bool,
}

/// The settings and the state of one direction.
#[derive(Debug, Default)]
pub(super) struct Way {
    pub(super) delay: Duration,
    pub(super) chunk_max: Option<usize>,
    pub(super) held: bool,
    pub(super) queued: usize,
}

impl State {
    pub(super) fn cut(&mut self) {
        for socket in self.sockets.drain(..) {
            // It fails if the connection has ended.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
