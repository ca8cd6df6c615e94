//! Commands that wait for a connection, a slot owner or a pause to end.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::api::key::Key;
use crate::wire::issued::Issued;

/// Commands in the order of an instant: the time of issue, from which their timeout counts, or the
/// time of the next try. Each operation costs O(log n).
#[derive(Debug, Default)]
pub(super) struct Queue {
    commands: BTreeMap<(Instant, u64), Issued>,
    /// The number of insertions, which orders commands of the same instant.
    inserted: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Return whether a command of the key waits here.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.commands.values().any(|issued| issued.command.key() == key)
    }

    /// Insert a command at its time of issue.
    pub(super) fn push(&mut self, issued: Issued) {
        self.push_at(issued.issued_at, issued);
    }

    pub(super) fn push_at(&mut self, at: Instant, issued: Issued) {
        self.inserted += 1;
        self.commands.insert((at, self.inserted), issued);
    }

    /// Return the instant of the first command.
    pub(super) fn first_at(&self) -> Option<Instant> {
        self.commands.first_key_value().map(|((at, _), _)| *at)
    }

    /// Remove the first command if its instant is `limit` or earlier.
    pub(super) fn pop_until(&mut self, limit: Instant) -> Option<Issued> {
        let first = self.commands.first_entry()?;
        (first.key().0 <= limit).then(|| first.remove())
    }

    /// Remove the commands that `is_meant` selects, first to last.
    pub(super) fn take_where(&mut self, mut is_meant: impl FnMut(&Issued) -> bool) -> Vec<Issued> {
        let all = std::mem::take(&mut self.commands).into_iter();
        let (meant, others): (BTreeMap<_, _>, _) = all.partition(|(_, issued)| is_meant(issued));
        self.commands = others;
        meant.into_values().collect()
    }

    /// Remove the first command.
    pub(super) fn pop(&mut self) -> Option<Issued> {
        self.commands.pop_first().map(|(_, issued)| issued)
    }

    /// Remove all commands, first to last.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Issued> + use<> {
        std::mem::take(&mut self.commands).into_values()
    }
}
