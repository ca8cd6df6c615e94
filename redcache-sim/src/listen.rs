//! The server model on a loopback TCP port, for examples and for tests of applications.
//!
//! It needs no installation and starts in well under a millisecond. It is not for production: all
//! keys are in one map behind one lock, each connection takes two threads, and only the commands of
//! the model exist.

mod connection;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::connection::Connection;
use crate::server::{ClientId, Config, Event, Server};

/// The time limit for waking the listener at shutdown.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// A server that lives as long as this value; dropping it ends all connections and threads.
///
/// ```
/// use redcache_sim::listen::EmbeddedServer;
///
/// let server = EmbeddedServer::start()?;
/// // Connect to server.url() ...
/// server.with(|server| server.set_loading(true));
/// // ... and see how the application bears a server that is not ready.
/// assert_eq!(server.with(|server| server.count("get").calls), 0);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct EmbeddedServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    ticker: Option<JoinHandle<()>>,
}

impl EmbeddedServer {
    /// Start a server with the default configuration on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Fails if the port cannot be opened or a thread cannot be started.
    pub fn start() -> io::Result<Self> {
        Self::start_with(Config::default())
    }

    /// Start a server with a configuration.
    ///
    /// # Errors
    ///
    /// Fails if the port cannot be opened or a thread cannot be started.
    pub fn start_with(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(config));
        let mut server = Self { address, shared, acceptor: None, ticker: None };
        let shared = Arc::clone(&server.shared);
        server.ticker = Some(spawn("redcache-sim-ticker", move || shared.tick())?);
        let shared = Arc::clone(&server.shared);
        server.acceptor = Some(spawn("redcache-sim-accept", move || shared.accept(&listener))?);
        Ok(server)
    }

    /// Return the address of the listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Return the address as a URL, `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Inspect or change the server. Connections wait until `look` returns; the replies that it
    /// causes are sent afterwards.
    pub fn with<R>(&self, look: impl FnOnce(&mut Server) -> R) -> R {
        let mut state = self.shared.lock();
        let answer = look(&mut state.server);
        self.shared.settle(&mut state);
        answer
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        let threads = std::mem::take(&mut state.threads);
        for connection in state.connections.values() {
            connection.close();
        }
        drop(state);
        self.shared.ticker_wakes.notify_all();
        // The acceptor sleeps in the kernel until a client connects.
        let woken = TcpStream::connect_timeout(&self.address, STOP_WAIT).is_ok();
        let acceptor = self.acceptor.take().filter(|_| woken);
        for thread in threads.into_iter().chain(acceptor).chain(self.ticker.take()) {
            // A panicking thread has printed its own message.
            let _ = thread.join();
        }
    }
}

/// The state shared by the threads.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ticker_wakes: Condvar,
}

#[derive(Debug)]
struct State {
    server: Server,
    connections: BTreeMap<ClientId, Arc<Connection>>,
    threads: Vec<JoinHandle<()>>,
    /// The next wake-up of the ticker; `None` while it sleeps without limit.
    ticker_until: Option<Instant>,
    stopping: bool,
}

impl Shared {
    fn new(config: Config) -> Self {
        let state = State {
            server: Server::new(Instant::now(), config),
            connections: BTreeMap::new(),
            threads: Vec::new(),
            ticker_until: None,
            stopping: false,
        };
        Self { state: Mutex::new(state), ticker_wakes: Condvar::new() }
    }

    /// Lock the state, ignoring poisoning: a test that panicked inside `with` does not stop the
    /// server.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carry out the events of the server after an input.
    fn settle(&self, state: &mut State) {
        while let Some(event) = state.server.poll_event() {
            match event {
                Event::Transmit { client, bytes } => {
                    if let Some(connection) = state.connections.get(&client) {
                        connection.send(&bytes);
                    }
                }
                Event::HangUp { client } => {
                    if let Some(connection) = state.connections.remove(&client) {
                        connection.finish();
                    }
                }
            }
        }
        let wanted = state.server.poll_timeout();
        if wanted.is_some_and(|at| state.ticker_until.is_none_or(|until| at < until)) {
            self.ticker_wakes.notify_one();
        }
    }

    /// Pass the time to the server at each timeout that it has requested.
    fn tick(&self) {
        let mut state = self.lock();
        while !state.stopping {
            let now = Instant::now();
            state.ticker_until = state.server.poll_timeout();
            let left = state.ticker_until.map(|until| until.saturating_duration_since(now));
            state = match left {
                None => self.ticker_wakes.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    state.server.handle_timeout(now);
                    self.settle(&mut state);
                    state
                }
                Some(left) => {
                    let woken = self.ticker_wakes.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for socket in listener.incoming() {
            let mut state = self.lock();
            if state.stopping {
                return;
            }
            // Without a socket or a thread the client sees the connection end.
            let _ = socket.and_then(|socket| self.admit(&mut state, socket));
        }
    }

    fn admit(self: &Arc<Self>, state: &mut State, socket: TcpStream) -> io::Result<()> {
        let connection = Arc::new(Connection::new(socket)?);
        let writer = Arc::clone(&connection);
        let writer = spawn("redcache-sim-writer", move || writer.write_all())?;
        let client = state.server.connect(Instant::now());
        state.connections.insert(client, Arc::clone(&connection));
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(writer);
        let (shared, reader) = (Arc::clone(self), Arc::clone(&connection));
        match spawn("redcache-sim-reader", move || shared.serve(client, &reader)) {
            Ok(reader) => state.threads.push(reader),
            Err(error) => {
                self.forget(state, client);
                return Err(error);
            }
        }
        self.settle(state);
        Ok(())
    }

    /// Pass the bytes of a connection to the server until it ends.
    fn serve(&self, client: ClientId, connection: &Connection) {
        let mut buffer = vec![0; 64 * 1024];
        while let Some(bytes) = connection.read(&mut buffer) {
            let mut state = self.lock();
            state.server.handle_bytes(Instant::now(), client, bytes);
            self.settle(&mut state);
        }
        connection.close();
        self.forget(&mut self.lock(), client);
    }

    fn forget(&self, state: &mut State, client: ClientId) {
        state.server.disconnect(client);
        if let Some(connection) = state.connections.remove(&client) {
            connection.close();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn connect(server: &EmbeddedServer) -> TcpStream {
        let socket = TcpStream::connect(server.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    fn expect(socket: &mut TcpStream, expected: &str) {
        let mut got = vec![0; expected.len()];
        socket.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }

    #[test]
    fn a_push_reaches_a_connection_that_sends_nothing() {
        let server = EmbeddedServer::start().unwrap();
        let (mut reader, mut writer) = (connect(&server), connect(&server));
        reader.write_all(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n").unwrap();
        reader.write_all(b"*3\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n").unwrap();
        reader.write_all(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").unwrap();
        let mut greeting = Vec::new();
        while !greeting.ends_with(b"+OK\r\n_\r\n") {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            greeting.extend_from_slice(&byte);
        }
        writer.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n").unwrap();
        expect(&mut writer, "+OK\r\n");
        expect(&mut reader, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    }

    #[test]
    fn an_expired_key_is_deleted_without_being_read() {
        let server = EmbeddedServer::start().unwrap();
        let mut socket = connect(&server);
        socket
            .write_all(b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nPX\r\n$1\r\n1\r\n")
            .unwrap();
        expect(&mut socket, "+OK\r\n");
        let given_up_at = Instant::now() + Duration::from_secs(5);
        while server.with(|server| server.expires_at(0, b"k").is_some()) {
            assert!(Instant::now() < given_up_at, "the key is still there");
            thread::yield_now();
        }
    }

    #[test]
    fn quitting_sends_the_reply_before_the_connection_ends() {
        let server = EmbeddedServer::start().unwrap();
        let mut socket = connect(&server);
        socket.write_all(b"*1\r\n$4\r\nQUIT\r\n").unwrap();
        let mut got = Vec::new();
        socket.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"+OK\r\n");
    }

    #[test]
    fn dropping_the_server_ends_blocked_connections() {
        let server = EmbeddedServer::start().unwrap();
        let mut flooded = connect(&server);
        let idle = connect(&server);
        // The replies exceed what the kernel buffers for a client that does not read.
        let value = vec![b'v'; 1 << 20];
        let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len());
        flooded.write_all(&[set.as_bytes(), &value, b"\r\n"].concat()).unwrap();
        flooded.write_all(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(64)).unwrap();
        expect(&mut flooded, "+OK\r\n$1048576\r\n");
        drop(server);
        for mut socket in [flooded, idle] {
            let mut rest = Vec::new();
            // Both a clean end and an error are fine.
            let _ = socket.read_to_end(&mut rest);
        }
    }
}
