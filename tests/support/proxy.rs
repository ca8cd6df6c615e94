//! A loopback proxy between a client and a server: it counts round trips, records commands, and
//! disturbs the link.
//!
//! ```text
//!  client ⇄ [reader ▸ queue ▸ writer] to the server
//!           [writer ◂ queue ◂ reader] to the client   one pair of threads per direction
//! ```

mod link;
mod observer;
mod shared;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use self::shared::Direction;

use self::shared::Shared;

/// A proxy in front of one server. Dropping it ends its connections and its threads.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listen on a free port and forward to `server`.
    ///
    /// # Panics
    ///
    /// Panics if no port can be opened.
    pub fn start(server: SocketAddr) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&shared, &listener, server))
        };
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Return the address to connect to instead of the server's.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Return the address as a URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Return the number of round trips over all connections. Commands that are sent together, or
    /// while another waits for its reply, share one round trip.
    pub fn round_trips(&self) -> u64 {
        self.shared.lock().round_trips
    }

    /// Return every command that passed, over all connections.
    pub fn commands(&self) -> Vec<Vec<Vec<u8>>> {
        self.shared.lock().commands.clone()
    }

    /// Return the number of connections that were forwarded.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Reset the counters and the record of commands.
    pub fn clear(&self) {
        let mut state = self.shared.lock();
        state.round_trips = 0;
        state.commands.clear();
        state.connections = 0;
    }

    /// Set the delay of bytes from now on.
    pub fn set_delay(&self, direction: Direction, delay: Duration) {
        self.shared.lock().ways[direction as usize].delay = delay;
    }

    /// Set the limit of bytes per write; `None` sets no limit.
    pub fn set_chunk_max(&self, direction: Direction, chunk_max: Option<usize>) {
        self.shared.lock().ways[direction as usize].chunk_max = chunk_max;
    }

    /// Hold bytes until they are released, in one piece.
    pub fn hold(&self, direction: Direction) {
        self.shared.lock().ways[direction as usize].held = true;
    }

    /// Release the held bytes.
    pub fn release(&self, direction: Direction) {
        self.shared.lock().ways[direction as usize].held = false;
        self.shared.changed.notify_all();
    }

    /// Return the number of bytes that are held or delayed.
    pub fn queued(&self, direction: Direction) -> usize {
        self.shared.lock().ways[direction as usize].queued
    }

    /// Cut every connection; new ones are accepted.
    pub fn cut(&self) {
        self.shared.lock().cut();
    }

    /// Set whether new connections are ended at once.
    pub fn refuse(&self, refusing: bool) {
        self.shared.lock().refusing = refusing;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        state.cut();
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.shared.changed.notify_all();
        // The acceptor sleeps in the kernel until a client connects.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok();
        for thread in threads.into_iter().chain(self.acceptor.take().filter(|_| woken)) {
            // A thread that panicked has reported it already.
            let _ = thread.join();
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, server: SocketAddr) {
    for client in listener.incoming() {
        {
            let state = shared.lock();
            if state.stopping {
                return;
            }
            if state.refusing {
                continue;
            }
        }
        // The client of a server that does not answer sees its connection end.
        let _ = client.and_then(|client| link::connect(shared, client, server));
    }
}

#[cfg(test)]
mod tests {
    use redcache_sim::listen::EmbeddedServer;

    use super::*;
    use crate::Raw;

    fn world() -> (EmbeddedServer, Proxy, Raw) {
        let server = EmbeddedServer::start().unwrap();
        let proxy = Proxy::start(server.address());
        let client = Raw::connect(proxy.address());
        (server, proxy, client)
    }

    #[test]
    fn commands_sent_together_share_a_round_trip() {
        let (_server, proxy, mut client) = world();
        client.ok(&["SET", "k", "v"]);
        client.send_bytes(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(3)).unwrap();
        for _ in 0..3 {
            assert_eq!(client.read_frame().unwrap(), b"$1\r\nv\r\n");
        }
        assert_eq!(proxy.round_trips(), 2);
        assert_eq!(proxy.commands().len(), 4);
        assert_eq!(proxy.commands()[0], [&b"SET"[..], b"k", b"v"]);
    }

    #[test]
    fn a_push_answers_no_command() {
        let (server, proxy, mut client) = world();
        client.call(&["HELLO", "3"]);
        client.ok(&["CLIENT", "TRACKING", "ON"]);
        assert_eq!(client.get("k"), None);
        Raw::connect(server.address()).ok(&["SET", "k", "v"]);
        client.read_push();
        assert_eq!(client.get("k").as_deref(), Some(&b"v"[..]));
        assert_eq!(proxy.round_trips(), 4);
    }

    #[test]
    fn held_bytes_come_in_one_piece_when_they_are_released() {
        let (server, proxy, mut client) = world();
        proxy.hold(Direction::ToClient);
        client.send(&["SET", "k", "v"]).unwrap();
        while proxy.queued(Direction::ToClient) == 0 {
            thread::yield_now();
        }
        assert_eq!(server.with(|server| server.value(0, b"k")).as_deref(), Some(&b"v"[..]));
        proxy.release(Direction::ToClient);
        assert_eq!(client.read_frame().unwrap(), b"+OK\r\n");
    }

    #[test]
    fn a_delay_is_added_to_each_direction() {
        let (_server, proxy, mut client) = world();
        let delay = Duration::from_millis(20);
        proxy.set_delay(Direction::ToServer, delay);
        proxy.set_delay(Direction::ToClient, delay);
        let start = std::time::Instant::now();
        client.call(&["PING"]);
        assert!(start.elapsed() >= 2 * delay);
    }

    #[test]
    fn single_bytes_make_the_same_stream() {
        let (_server, proxy, mut client) = world();
        proxy.set_chunk_max(Direction::ToServer, Some(1));
        proxy.set_chunk_max(Direction::ToClient, Some(1));
        client.ok(&["SET", "k", "value"]);
        assert_eq!(client.get("k").as_deref(), Some(&b"value"[..]));
    }

    #[test]
    fn a_cut_ends_connections_and_refusing_keeps_new_ones_out() {
        let (_server, proxy, mut client) = world();
        client.call(&["PING"]);
        proxy.cut();
        assert!(client.try_call(&["PING"]).is_err());
        proxy.refuse(true);
        let refused = Raw::try_connect(proxy.address());
        assert!(refused.and_then(|mut client| client.try_call(&["PING"])).is_err());
        proxy.refuse(false);
        assert_eq!(Raw::connect(proxy.address()).call(&["PING"]), b"+PONG\r\n");
        assert_eq!(proxy.connections(), 2);
    }
}
