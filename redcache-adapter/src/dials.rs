//! Attempts to connect: the queue of the engine's requests, and the attempts in progress.

use std::collections::VecDeque;
use std::net::SocketAddr;

use redcache_core::Address;
use redcache_core::engine::ConnId;

/// The largest number of concurrent attempts. A large cluster is dialed in several rounds.
pub const DIALS_MAX: usize = 32;

/// Return an address that a host name resolves to, with the scope of a link-local one.
pub fn address_of(resolved: SocketAddr) -> Address {
    let host = match resolved {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => resolved.ip().to_string(),
    };
    Address::Tcp { host, port: resolved.port() }
}

/// An attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// The connection's name in the engine.
    pub conn: ConnId,
    /// The server's address.
    pub address: Address,
}

/// The attempts to connect of one cache.
#[derive(Debug, Default)]
pub struct Dials {
    queue: VecDeque<Dial>,
    under_way: Vec<Dial>,
}

impl Dials {
    /// Add an attempt to the queue.
    pub fn push(&mut self, dial: Dial) {
        self.queue.push_back(dial);
    }

    /// Return `true` if [`start`](Self::start) would return an attempt.
    pub fn can_start(&self) -> bool {
        !self.queue.is_empty() && self.under_way.len() < DIALS_MAX
    }

    /// Take the next attempt from the queue and count it as in progress.
    pub fn start(&mut self) -> Option<Dial> {
        if !self.can_start() {
            return None;
        }
        let dial = self.queue.pop_front()?;
        self.under_way.push(dial.clone());
        Some(dial)
    }

    /// Return `true` if an attempt was started and has not ended.
    pub fn is_under_way(&self, conn: ConnId) -> bool {
        self.under_way.iter().any(|dial| dial.conn == conn)
    }

    /// Return the number of attempts to connect to `address` in progress.
    pub fn count_to(&self, address: &Address) -> usize {
        self.under_way.iter().filter(|dial| dial.address == *address).count()
    }

    /// End an attempt. Return `true` if it was in progress.
    pub fn end(&mut self, conn: ConnId) -> bool {
        let before = self.under_way.len();
        self.under_way.retain(|dial| dial.conn != conn);
        self.under_way.len() < before
    }

    /// Remove an attempt from the queue. Return `true` if it was there.
    pub(crate) fn cancel(&mut self, conn: ConnId) -> bool {
        let before = self.queue.len();
        self.queue.retain(|dial| dial.conn != conn);
        self.queue.len() < before
    }
}

#[cfg(test)]
mod tests {
    use redcache_core::Config;
    use redcache_core::engine::{Engine, Event, Seed};
    use std::time::Instant;

    use super::*;

    /// Return the first attempt that a new engine requests.
    fn dial() -> Dial {
        let config = Config::from_url("redis://localhost").unwrap();
        let seed = Seed::new([7; 32], 0);
        match Engine::new(Instant::now(), &seed, config).poll_event() {
            Some(Event::Dial { conn, address }) => Dial { conn, address },
            other => panic!("no attempt: {other:?}"),
        }
    }

    #[test]
    fn the_attempts_under_way_are_limited_and_the_end_of_one_lets_the_next_start() {
        let mut dials = Dials::default();
        let dial = dial();
        for _ in 0..=DIALS_MAX {
            dials.push(dial.clone());
        }
        let started = std::iter::from_fn(|| dials.start()).count();
        assert_eq!((started, dials.can_start()), (DIALS_MAX, false));
        assert!(dials.end(dial.conn));
        assert!(dials.start().is_some());
    }

    #[test]
    fn an_address_is_written_without_brackets_and_with_its_scope() {
        for (resolved, shown) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:1", "[::1]:1"),
            ("[fe80::1%3]:1", "[fe80::1%3]:1"),
        ] {
            assert_eq!(address_of(resolved.parse().unwrap()).to_string(), shown);
        }
    }

    #[test]
    fn a_queued_attempt_that_is_canceled_never_starts() {
        let mut dials = Dials::default();
        let dial = dial();
        dials.push(dial.clone());
        assert!(dials.cancel(dial.conn));
        assert_eq!(dials.start(), None);
        assert!(!dials.cancel(dial.conn), "it is gone");
    }
}
