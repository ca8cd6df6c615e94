//! A proxy that delays, splits, joins, drips, stalls, resets and half-closes connections at random.
//!
//! ```text
//!  client ⇄ [reader ▸ queue ▸ writer with faults] ⇄ server   one pair of threads per direction
//! ```
//!
//! No byte stays in the proxy for longer than [`HOLD_MAX`], so that a command which its client has
//! given up reaches the server soon or never.

mod link;
mod tape;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::link::Link;
use crate::Rng;

/// The longest time that a byte stays in the proxy, but for the time to drip the bytes before it.
pub const HOLD_MAX: Duration = Duration::from_millis(2500);

/// The number of ended connections whose bytes are kept.
const ENDED_MAX: usize = 8;

/// A fault that the proxy causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Bytes arrive up to 50 ms late.
    Delay,
    /// Bytes arrive in pieces.
    Split,
    /// Bytes that were written apart arrive together.
    Coalesce,
    /// Bytes arrive one by one.
    Drip,
    /// Bytes of one direction stand still for up to two seconds.
    Stall,
    /// The connection ends at once, with bytes under way.
    Reset,
    /// One direction ends, the other goes on.
    HalfClose,
}

/// The number of cases of each fault in 100,000 pieces of data.
const RATES: [(Fault, u64); 7] = [
    (Fault::Delay, 600),
    (Fault::Split, 2_000),
    (Fault::Coalesce, 2_000),
    (Fault::Drip, 300),
    (Fault::Stall, 30),
    (Fault::Reset, 20),
    (Fault::HalfClose, 10),
];

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
    /// The multiple of [`RATES`], in percent.
    percent: AtomicU64,
    stopping: AtomicBool,
    faults: Mutex<BTreeMap<Fault, u64>>,
    links: Mutex<Vec<Link>>,
}

impl FaultyProxy {
    /// Listen on a free port and forward to `server`, with no fault yet.
    ///
    /// # Panics
    ///
    /// If no port can be opened.
    pub fn start(server: SocketAddr, rng: Rng) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            server,
            rng: Mutex::new(rng),
            percent: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            faults: Mutex::default(),
            links: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accepting.accept(&listener));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// The address to connect to instead of the server's.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Set the rate of faults in percent of the usual one; 0 forwards faithfully.
    pub fn set_fault_rate(&self, percent: u64) {
        self.shared.percent.store(percent, Ordering::Relaxed);
    }

    /// Return the number of faults so far.
    pub fn faults(&self) -> BTreeMap<Fault, u64> {
        lock(&self.shared.faults).clone()
    }

    /// Write the latest bytes of each connection to files in `folder`, named after `name`.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
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
            if let Ok(link) = client.and_then(|client| Link::open(self, number, client, &rng)) {
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

    /// Return the fault of the next piece of data, and count it.
    fn draw(&self, rng: &mut Rng) -> Option<Fault> {
        let percent = self.percent.load(Ordering::Relaxed);
        if percent == 0 {
            return None;
        }
        let mut drawn = rng.below(100_000 * 100);
        let rate = RATES.iter().find(|(_, rate)| {
            let is_hit = drawn < rate * percent;
            drawn = drawn.saturating_sub(rate * percent);
            is_hit
        });
        let fault = rate.map(|(fault, _)| *fault)?;
        *lock(&self.faults).entry(fault).or_default() += 1;
        Some(fault)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
