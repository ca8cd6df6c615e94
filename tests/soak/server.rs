//! The server of the run, and the commands that disturb it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redcache_tests::{Raw, RedisServer, Rng};

use crate::tally::Tally;

/// Disturbing commands that the caches must survive. `{}` stands for the number of keys.
const DISTURBANCES: &[&[&str]] = &[
    &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
    &["FLUSHALL"],
    &["SCRIPT", "FLUSH"],
    &["CONFIG", "SET", "tracking-table-max-keys", "20"],
    &["CONFIG", "SET", "tracking-table-max-keys", "1000000"],
    &["CLIENT", "PAUSE", "300", "ALL"],
    &["CLIENT", "PAUSE", "300", "WRITE"],
    &["CONFIG", "SET", "maxmemory", "1"],
    &["CONFIG", "SET", "maxmemory", "0"],
];

/// The mean pause between two disturbances.
const PAUSE: Duration = Duration::from_secs(2);

/// The server of the run: one that the program has started, or one that was already running.
pub(crate) struct Target {
    address: SocketAddr,
    _own: Option<RedisServer>,
}

impl Target {
    pub(crate) fn new(address: Option<&str>) -> Self {
        let Some(address) = address else {
            let own = RedisServer::start();
            return Self { address: own.address(), _own: Some(own) };
        };
        let mut found = address.to_socket_addrs().expect("`--redis` is `HOST:PORT`");
        Self { address: found.next().expect("the host has an address"), _own: None }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Restore the settings of the server and delete its keys.
    pub(crate) fn flush(&self) {
        let mut raw = Raw::connect(self.address);
        raw.ok(&["CONFIG", "SET", "maxmemory", "0"]);
        raw.ok(&["CONFIG", "SET", "tracking-table-max-keys", "1000000"]);
        raw.ok(&["FLUSHALL"]);
    }

    /// Disturb the server until the returned value is dropped.
    pub(crate) fn disturb(&self, mut rng: Rng, tally: &Arc<Tally>) -> Disturber {
        let (address, tally) = (self.address, Arc::clone(tally));
        let (stops, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            loop {
                let pause = Duration::from_millis(rng.below(2 * PAUSE.as_millis() as u64));
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                let words = DISTURBANCES[rng.below(DISTURBANCES.len() as u64) as usize];
                let done = Raw::try_connect(address).and_then(|mut raw| raw.try_call(words));
                let name = if done.is_ok() { words.join(" ") } else { "not connected".to_owned() };
                tally.count("disturbances", name);
            }
            // The settings that make calls fail must not last.
            let mut raw = Raw::connect(address);
            raw.ok(&["CONFIG", "SET", "maxmemory", "0"]);
        });
        Disturber { stops: Some(stops), thread: Some(thread) }
    }
}

pub(crate) struct Disturber {
    stops: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Disturber {
    fn drop(&mut self) {
        self.stops = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server answers");
        }
    }
}
