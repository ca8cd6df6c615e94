//! Values over the limit of a reply, and the calls and connections beside them.

use bytes::Bytes;

use crate::clock::Micros;
use crate::fault::Fault;
use crate::invariant::{Checked, Invariant};
use crate::state::call::Kind;
use crate::state::world::World;

impl World {
    /// Return whether a key holds more bytes than a process reads.
    pub(crate) fn is_oversized(&self, key: usize) -> bool {
        self.keys[key].raw.as_ref().is_some_and(|raw| self.is_too_long(raw))
    }

    /// Return whether a process skips the content of a key in a reply.
    pub(super) fn is_too_long(&self, raw: &Bytes) -> bool {
        // The limit of a value includes its envelope.
        raw.len() > self.plan.value_max + 64
    }

    /// Record whether the new content of a key is over the limit.
    pub(crate) fn note_oversized(&mut self, key: usize) {
        let is_oversized = self.is_oversized(key);
        let until = &mut self.keys[key].oversized_until;
        if is_oversized {
            *until = Some(Micros::MAX);
        } else if *until == Some(Micros::MAX) {
            *until = Some(self.now);
        }
    }

    /// Return whether a key of a call was over the limit while the call, or one that it joined, may
    /// have read it.
    pub(super) fn was_oversized(&self, call: usize, slot: usize) -> bool {
        let state = &self.calls[call];
        let since = self.joined_since(call);
        let was_it =
            |key: &usize| self.keys[*key].oversized_until.is_some_and(|until| until >= since);
        // A change fails as a whole.
        match state.kind {
            Kind::Change => state.keys.iter().any(was_it),
            _ => was_it(&state.keys[slot]),
        }
    }

    /// Count a call beside a value over the limit.
    pub(super) fn cover_oversized(&mut self, call: usize) {
        let is_beside = (0..self.keys.len())
            .any(|key| self.is_oversized(key) && !self.calls[call].keys.contains(&key));
        if self.loses_nothing_to_size() && is_beside {
            self.tally.cover(Invariant::OversizedAlone);
        }
    }

    /// Check that a process leaves a connection because of something other than a value over the
    /// limit.
    pub(crate) fn check_left(&self, link: usize) -> Checked {
        let process = &self.processes[self.links[link].process];
        let is_closing = process.closing_since.is_some() || !process.is_open;
        // The connection for large values is closed when it is not used.
        let is_closing = is_closing || process.links.first() != Some(&link);
        Invariant::OversizedAlone.holds(is_closing || !self.loses_nothing_to_size(), || {
            format!("p{} leaves link {link}", self.links[link].process)
        })
    }

    /// Return whether there are values over the limit, and links and server are healthy.
    fn loses_nothing_to_size(&self) -> bool {
        self.plan.is_healthy && self.plan.faults.has(Fault::ForeignOversized)
    }
}
