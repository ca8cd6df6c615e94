//! The queue of commands that a connection has sent and the server has not answered.
//!
//! A reply is paired with its command by position alone, so a command keeps its place until its
//! reply arrives, whether or not its sender still waits.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use crate::api::key::Key;
use crate::protocol::command::{Command, Token};
use crate::protocol::native::Delete;
use crate::protocol::refusal::Refusal;
use crate::protocol::topology::Question;
use crate::wire::issued::Issued;

/// A request whose reply has not arrived.
#[derive(Debug)]
pub(super) enum Awaited {
    Command {
        issued: Issued,
        form: Form,
        /// The next reply answers a batch of this many commands, of which this is the first; zero
        /// outside a batch.
        batch: usize,
    },
    /// A request whose reply is ignored.
    Ignored,
    /// A piece for a read of this key. The read is at the place of its first piece, or has ended.
    Piece(Box<PieceOf>),
    /// A `PING` with a number, which its reply repeats, and the instant at which it entered the
    /// pipeline.
    Ping(u64, Instant),
    /// `CLUSTER INFO`. It precedes the topology, so that it is not newer.
    ClusterInfo,
    Topology(Question),
    /// `AUTH` with new credentials.
    Login,
    /// `MULTI` or `EXEC` of an empty transaction, which shows whether transactions are allowed.
    Transactions,
}

impl Awaited {
    /// Return the command, if it is one.
    pub(super) fn command_mut(&mut self) -> Option<&mut Issued> {
        match self {
            Self::Command { issued, .. } => Some(issued),
            Self::Ignored
            | Self::Piece(_)
            | Self::Ping(..)
            | Self::ClusterInfo
            | Self::Topology(_)
            | Self::Login
            | Self::Transactions => None,
        }
    }
}

/// The read that a piece was requested for.
#[derive(Debug, Clone)]
pub(super) struct PieceOf {
    /// The number of the read among those of the connection.
    pub(super) read: u64,
    pub(super) key: Key,
}

/// A command without a reply within the command timeout.
#[derive(Debug)]
pub(crate) struct Overdue {
    pub(crate) token: Token,
    pub(crate) command: Command,
    pub(crate) issued_at: Instant,
    /// The last refusal of the command, after which it was sent again.
    pub(crate) last_refusal: Option<Refusal>,
}

/// The form in which a command that needs a script on some servers was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// With the hash of its script.
    Hash,
    /// With the source of its script.
    Source,
    /// As a native command of the server. The given one deletes locks.
    Native(Delete),
    /// In a transaction with its neighbours, which reads the keys back.
    Transaction,
    /// As a `SET` that reads the key and takes its lock.
    SetGet,
    /// As the first of a batch of reads that the server does not track. The reply to `CLIENT
    /// CACHING` comes first.
    Untracked,
    /// As a read in pieces, of which the first is awaited.
    FirstPiece,
    /// As a read in pieces, of which a further one is awaited.
    Piece,
}

/// The unanswered requests of one connection, in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct AwaitedQueue {
    entries: VecDeque<Awaited>,
    /// The number of the first entry; every later entry has the next number.
    first: u64,
    deadlines: Deadlines,
}

/// The commands with a waiting sender, by the time of issue. Each operation costs O(log n) at most.
#[derive(Debug, Default)]
struct Deadlines {
    /// Commands that were issued in the order in which they were sent.
    in_order: VecDeque<(Instant, u64)>,
    /// Commands that were sent after younger ones, because they were sent for the second time.
    late: BTreeSet<(Instant, u64)>,
}

impl AwaitedQueue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(&mut self, awaited: Awaited) {
        if let Awaited::Command { issued, .. } = &awaited
            && issued.token.is_some()
        {
            self.deadlines.push(issued.issued_at, self.first + self.entries.len() as u64);
        }
        self.entries.push_back(awaited);
    }

    pub(super) fn pop_front(&mut self) -> Option<Awaited> {
        let awaited = self.entries.pop_front()?;
        if let Awaited::Command { issued, .. } = &awaited {
            self.deadlines.remove(issued.issued_at, self.first);
        }
        self.first += 1;
        Some(awaited)
    }

    pub(super) fn front(&self) -> Option<&Awaited> {
        self.entries.front()
    }

    pub(super) fn get(&self, place: usize) -> Option<&Awaited> {
        self.entries.get(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Awaited> {
        self.entries.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Awaited> {
        self.entries.iter_mut()
    }

    /// Make one batch of the last `count` commands.
    pub(super) fn batch_last(&mut self, count: usize) {
        let place = self.entries.len().checked_sub(count);
        if let Some(Awaited::Command { batch, .. }) =
            place.and_then(|place| self.entries.get_mut(place))
        {
            *batch = count;
        }
    }

    /// Set the form of the first of the last `count` commands.
    pub(super) fn set_form(&mut self, count: usize, wanted: Form) {
        let place = self.entries.len().checked_sub(count);
        if let Some(Awaited::Command { form, .. }) =
            place.and_then(|place| self.entries.get_mut(place))
        {
            *form = wanted;
        }
    }

    /// Dissolve the batch at the front, whose common reply has arrived.
    pub(super) fn unbatch_front(&mut self) {
        if let Some(Awaited::Command { batch, .. }) = self.entries.front_mut() {
            *batch = 0;
        }
    }

    /// Put a read at the place of its next piece.
    pub(super) fn put_at_piece(&mut self, read: u64, issued: Issued) {
        let is_its_piece =
            |awaited: &Awaited| matches!(awaited, Awaited::Piece(piece) if piece.read == read);
        let Some(place) = self.entries.iter().position(is_its_piece) else {
            debug_assert!(false, "a read in pieces awaits none");
            return;
        };
        if issued.token.is_some() {
            self.deadlines.push_late(issued.issued_at, self.first + place as u64);
        }
        self.entries[place] = Awaited::Command { issued, form: Form::Piece, batch: 0 };
    }

    /// Return the next command that was issued at `limit` or before and whose sender still waits.
    /// The sender no longer waits then.
    pub(super) fn next_overdue(&mut self, limit: Instant) -> Option<Overdue> {
        loop {
            let number = self.deadlines.pop(limit)?;
            let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
            if let Some(Awaited::Command { issued, .. }) = self.entries.get_mut(place)
                && let Some(token) = issued.token.take()
            {
                let (command, issued_at) = (issued.command.clone(), issued.issued_at);
                let last_refusal = issued.last_refusal.clone();
                return Some(Overdue { token, command, issued_at, last_refusal });
            }
        }
    }

    /// Return the time of issue of the oldest command with a waiting sender.
    pub(super) fn oldest_issued(&self) -> Option<Instant> {
        self.deadlines.first()
    }

    /// Drop the entry of a command, as if its call had removed it.
    #[cfg(redcache_mutants)]
    pub(super) fn drop_slot(&mut self, token: Token) {
        self.entries.retain_mut(|awaited| {
            awaited.command_mut().is_none_or(|issued| issued.token != Some(token))
        });
    }
}

impl IntoIterator for AwaitedQueue {
    type Item = Awaited;
    type IntoIter = std::collections::vec_deque::IntoIter<Awaited>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl Deadlines {
    fn push(&mut self, issued_at: Instant, number: u64) {
        let is_late = self.in_order.back().is_some_and(|(last, _)| issued_at < *last);
        if is_late && !mutant!(OverdueByFrontOnly) {
            self.late.insert((issued_at, number));
        } else {
            self.in_order.push_back((issued_at, number));
        }
    }

    /// Add a command that has taken the place of a request in the middle of the queue.
    fn push_late(&mut self, issued_at: Instant, number: u64) {
        self.late.insert((issued_at, number));
    }

    /// Remove a command that is answered. It is the first in its queue unless it was overdue.
    fn remove(&mut self, issued_at: Instant, number: u64) {
        if self.in_order.front().is_some_and(|(_, first)| *first == number) {
            self.in_order.pop_front();
        } else {
            self.late.remove(&(issued_at, number));
        }
    }

    /// Remove and return the first command that was issued at `limit` or before.
    fn pop(&mut self, limit: Instant) -> Option<u64> {
        let late = self.late.first().copied().filter(|(issued_at, _)| *issued_at <= limit);
        let in_order = self.in_order.front().copied().filter(|(issued_at, _)| *issued_at <= limit);
        if late.is_some_and(|late| in_order.is_none_or(|other| late < other)) {
            self.late.pop_first().map(|(_, number)| number)
        } else {
            in_order?;
            self.in_order.pop_front().map(|(_, number)| number)
        }
    }

    fn first(&self) -> Option<Instant> {
        let in_order = self.in_order.front().map(|(issued_at, _)| *issued_at);
        let late = self.late.first().map(|(issued_at, _)| *issued_at);
        match (in_order, late) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const COMMANDS: u64 = 100_000;

    /// Return the deadlines of commands that are sent in the order of their numbers, and the time
    /// of issue of each. Each tenth command is sent for the second time.
    fn deadlines() -> (Deadlines, Vec<Instant>) {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let start = Instant::now();
        let issued_at = |number: u64| {
            let millis = if number % 10 == 9 { number } else { COMMANDS + number };
            start + Duration::from_millis(millis)
        };
        let issued: Vec<Instant> = (0..COMMANDS).map(issued_at).collect();
        let mut deadlines = Deadlines::default();
        (0..).zip(&issued).for_each(|(number, at)| deadlines.push(*at, number));
        (deadlines, issued)
    }

    #[test]
    fn commands_sent_again_behind_younger_ones_are_overdue_in_the_order_of_their_issue() {
        let (mut deadlines, issued) = deadlines();
        let limit = issued[issued.len() - 2];
        let mut expected: Vec<u64> = (0..COMMANDS).collect();
        expected.sort_by_key(|number| issued[usize::try_from(*number).unwrap()]);
        let overdue: Vec<u64> = std::iter::from_fn(|| deadlines.pop(limit)).collect();
        assert_eq!(overdue, expected);
    }

    #[test]
    fn a_command_that_is_answered_has_no_deadline_in_any_order_of_issue() {
        let (mut deadlines, issued) = deadlines();
        (0..).zip(&issued).for_each(|(number, at)| deadlines.remove(*at, number));
        assert_eq!(deadlines.first(), None);
        assert!(deadlines.in_order.is_empty() && deadlines.late.is_empty());
    }
}
