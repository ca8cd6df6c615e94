//! The seeds: the nodes of the settings, which are queried while no other node is connected.

use std::time::Instant;

use super::id::NodeId;
use crate::api::config::{Address, Config};
use crate::api::error::Error;
use crate::rng::Rng;
use crate::wire::backoff::Backoff;

#[derive(Debug)]
pub(super) struct Seeds {
    addresses: Vec<Address>,
    /// The index of the next seed.
    next: usize,
    /// The seed that is being tried.
    pub(super) tried: Option<NodeId>,
    /// No other node is connected.
    pub(super) is_needed: bool,
    pub(super) try_at: Instant,
    backoff: Backoff,
    /// Reason why the last seed could not be queried.
    pub(super) fault: Option<Error>,
    /// Instant since which every attempt has failed.
    pub(super) down_since: Option<Instant>,
}

impl Seeds {
    pub(super) fn new(now: Instant, addresses: &[Address], config: &Config) -> Self {
        Self {
            addresses: addresses.to_vec(),
            next: 0,
            tried: None,
            is_needed: false,
            try_at: now,
            backoff: Backoff::new(config.reconnect_delay_max),
            fault: None,
            down_since: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Return the next seed, if one is due.
    pub(super) fn next(&self, now: Instant) -> Option<Address> {
        let is_due = self.tried.is_none() && self.try_at <= now;
        if is_due { self.addresses.get(self.next).cloned() } else { None }
    }

    /// Try the same seed again, because its name has another address.
    pub(super) fn repeat(&mut self, now: Instant) {
        self.tried = None;
        self.try_at = now;
    }

    /// Skip an unusable seed. Return whether all seeds have been tried.
    pub(super) fn pass(&mut self, now: Instant, reason: Option<&Error>, rng: &mut Rng) -> bool {
        self.tried = None;
        self.fault = reason.cloned().or_else(|| self.fault.take());
        self.next += 1;
        let is_round = self.next >= self.addresses.len();
        self.try_at = now;
        if is_round {
            self.next = 0;
            if reason.is_some() {
                self.down_since.get_or_insert(now);
            }
            self.try_at += self.backoff.pause(rng);
        }
        is_round
    }

    /// Forget the faults, because a node has reported the slot map.
    pub(super) fn on_known(&mut self) {
        self.fault = None;
        self.down_since = None;
    }

    pub(super) fn reset_pauses(&mut self) {
        self.backoff.reset();
    }
}
