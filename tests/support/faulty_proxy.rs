//! A proxy that delays, splits, joins, drips, stalls, resets and half-closes connections at random.
//!
//! ```text
//!  client ⇄ [reader ▸ queue ▸ writer with faults] ⇄ server   one pair of threads per direction
//! ```
//!
//! No byte stays in the proxy for longer than [`HOLD_MAX`], so that a command which its client has
//! given up reaches the server soon or never.

mod faults;
mod link;
mod tape;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use self::faults::{Fault, HOLD_MAX};

use self::faults::{Faults, lock};
use self::link::Link;
use crate::rng::Rng;

/// The number of ended connections whose bytes are kept.
const ENDED_MAX: usize = 8;

/// A faulty proxy in front of one server. Dropping it ends its connections and its threads.
#[derive(Debug)]
pub struct FaultyProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    rng: Mutex<Rng>,
    stopping: AtomicBool,
    faults: Arc<Faults>,
    links: Mutex<Vec<Link>>,
}

impl FaultyProxy {
    /// Listen on a free port and forward to `server`, with no fault yet.
    ///
    /// # Panics
    ///
    /// Panics if no port can be opened.
    pub fn start(server: SocketAddr, rng: Rng) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            server,
            rng: Mutex::new(rng),
            stopping: AtomicBool::new(false),
            faults: Arc::default(),
            links: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accepting.accept(&listener));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Return the address to connect to instead of the server's.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Set the rate of faults in percent of the usual one; 0 forwards faithfully.
    pub fn set_fault_rate(&self, percent: u64) {
        self.shared.faults.set_rate(percent);
    }

    /// Return the number of faults of each kind so far.
    pub fn faults(&self) -> BTreeMap<Fault, u64> {
        self.shared.faults.counts()
    }

    /// Write the latest bytes of each connection to files in `folder`, named after `name`.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be written.
    pub fn dump(&self, folder: &Path, name: &str) -> std::io::Result<()> {
        for link in lock(&self.shared.links).iter() {
            link.dump(folder, name)?;
        }
        Ok(())
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let links = std::mem::take(&mut *lock(&self.shared.links));
        // The acceptor sleeps in the kernel until a client connects.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok();
        links.iter().for_each(Link::cut);
        links.into_iter().for_each(Link::join);
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            // A thread that panicked has reported it already.
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for (number, client) in (0..).zip(listener.incoming()) {
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            let rng = lock(&self.rng).fork(number);
            // The client of a server that does not answer sees its connection end.
            let open = |client| Link::open(&self.faults, self.server, (number, client), &rng);
            if let Ok(link) = client.and_then(open) {
                let mut links = lock(&self.links);
                links.push(link);
                let ended = links.iter().filter(|link| link.has_ended()).count();
                if ended > ENDED_MAX
                    && let Some(oldest) = links.iter().position(Link::has_ended)
                {
                    links.remove(oldest).join();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use redcache_sim::listen::EmbeddedServer;

    use super::*;
    use crate::Raw;

    #[test]
    fn a_faulty_proxy_changes_no_byte_that_arrives() {
        let server = EmbeddedServer::start().unwrap();
        let proxy = FaultyProxy::start(server.address(), Rng::new(1));
        proxy.set_fault_rate(500);
        let value = "value".repeat(200);
        let mut client = Raw::connect(proxy.address());
        for number in 0..300 {
            let key = number.to_string();
            let set = client.try_call(&["SET", &key, &value]);
            let got = set.and_then(|_| client.try_call(&["GET", &key]));
            match got {
                Ok(reply) => assert_eq!(reply, format!("$1000\r\n{value}\r\n").as_bytes()),
                // The proxy has ended the connection.
                Err(_) => client = Raw::connect(proxy.address()),
            }
        }
        assert!(proxy.faults().values().sum::<u64>() > 10, "{:?}", proxy.faults());
    }
}
