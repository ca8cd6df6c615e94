//! The commands of a node that wait for its connection, and their order.
//!
//! A server may hang up because of one command: its reply exceeds `client-output-buffer-limit`, or
//! its value exceeds `proto-max-bulk-len`. Every unanswered command is then a suspect. A suspect of
//! several hang-ups is sent with few others, and finally alone, so that the others are answered and
//! only the faulty command fails.

use std::time::Instant;

use super::queue::Queue;
use crate::api::key::Key;
use crate::wire::issued::{Company, Issued};

/// The largest number of suspects that are unanswered at the same time.
const FEW: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Commands that are no suspects.
    any: Queue,
    few: Queue,
    alone: Queue,
    round: Round,
    /// The connection was lost in a round of suspects, so it is the turn of the others.
    suspects_had_turn: bool,
}

/// The kind of the commands that are unanswered. Another round begins once all are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Round {
    /// No suspect waits.
    #[default]
    Free,
    /// The number of commands without suspicion that may still be sent in this round.
    Any(usize),
    /// The number of suspects that may still be sent in this round.
    Few(usize),
    /// The number of lone suspects that may still be sent in this round: one, or none after it was
    /// sent.
    Alone(usize),
}

impl Round {
    fn is_of_suspects(self) -> bool {
        match self {
            Self::Few(_) | Self::Alone(_) => true,
            Self::Free | Self::Any(_) => false,
        }
    }
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.any.len() + self.few.len() + self.alone.len()
    }

    /// Return whether a command of the key waits here.
    pub(super) fn has(&self, key: &Key) -> bool {
        [&self.any, &self.few, &self.alone].into_iter().any(|queue| queue.has(key))
    }

    fn has_suspects(&self) -> bool {
        !self.few.is_empty() || !self.alone.is_empty()
    }

    /// Return whether no command waits, and no suspect is in flight.
    pub(super) fn is_free(&self) -> bool {
        self.round == Round::Free && self.any.is_empty() && !self.has_suspects()
    }

    /// Return whether [`pop`](Self::pop) returns nothing and changes nothing.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_free() && !self.suspects_had_turn
    }

    /// Return whether a command may be sent without waiting here.
    pub(super) fn lets_pass(&self, issued: &Issued) -> bool {
        issued.command.releases_lock() || self.is_free() && issued.company() == Company::Any
    }

    pub(super) fn push(&mut self, issued: Issued) {
        match issued.company() {
            Company::Any => self.any.push(issued),
            Company::Few => self.few.push(issued),
            Company::None => self.alone.push(issued),
        }
    }

    /// Remove the next command to send, while `unanswered` commands are in flight.
    pub(super) fn pop(&mut self, unanswered: usize) -> Option<Issued> {
        if unanswered == 0 {
            self.round = self.next_round();
            self.suspects_had_turn = false;
        } else if self.round == Round::Free && self.has_suspects() {
            self.round = Round::Any(0);
        }
        let (left, queue) = match &mut self.round {
            Round::Free => return self.any.pop(),
            Round::Any(left) => (left, &mut self.any),
            Round::Few(left) => (left, &mut self.few),
            Round::Alone(left) => (left, &mut self.alone),
        };
        *left = left.checked_sub(1)?;
        queue.pop()
    }

    /// Return the next round. Suspects and other commands alternate, with the worst suspects last.
    fn next_round(&self) -> Round {
        let others = self.any.len();
        let had_turn = self.suspects_had_turn || self.round.is_of_suspects();
        match self.round {
            _ if !self.has_suspects() => Round::Free,
            _ if had_turn && others > 0 => Round::Any(others),
            _ if !self.few.is_empty() => Round::Few(FEW),
            _ => Round::Alone(1),
        }
    }

    /// Forget the round, because the connection is lost.
    pub(super) fn on_disconnect(&mut self) {
        self.suspects_had_turn |= self.round.is_of_suspects();
        self.round = Round::Free;
    }

    /// Return the instant at which the first command was issued.
    pub(super) fn first_at(&self) -> Option<Instant> {
        let firsts = [&self.any, &self.few, &self.alone].map(Queue::first_at);
        firsts.into_iter().flatten().min()
    }

    /// Remove a command that was issued at `limit` or before.
    pub(super) fn pop_until(&mut self, limit: Instant) -> Option<Issued> {
        let queues = [&mut self.any, &mut self.few, &mut self.alone];
        queues.into_iter().find_map(|queue| queue.pop_until(limit))
    }

    /// Remove all commands, the worst suspects last.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Issued> + use<> {
        self.any.take().chain(self.few.take()).chain(self.alone.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::command::{Command, Token};
    use crate::protocol::slot::Slot;

    fn waiting(suspicions: &[u8]) -> Waiting {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let mut waiting = Waiting::default();
        for &hang_ups in suspicions {
            let token = Token { sender: hang_ups.into(), slot: 0 };
            let command = Command::Read { key: Key::from("k"), asks_ttl: true };
            let mut issued = Issued::new(now, token, command, Slot::FIRST);
            issued.hang_ups = hang_ups;
            waiting.push(issued);
        }
        waiting
    }

    /// Return the number of hang-ups of each command, round by round, if each round is answered
    /// completely.
    fn rounds(waiting: &mut Waiting) -> Vec<Vec<u8>> {
        let mut rounds = Vec::new();
        while waiting.len() > 0 {
            let mut round = Vec::new();
            while let Some(issued) = waiting.pop(round.len()) {
                round.push(issued.hang_ups);
            }
            rounds.push(round);
        }
        rounds
    }

    #[test]
    fn suspects_go_few_at_a_time_then_alone_in_turn_with_the_others() {
        let mut all = waiting(&[3, 3, 2, 2, 0, 1, 0]);
        assert_eq!(rounds(&mut all), [vec![2, 2], vec![0, 1, 0], vec![3], vec![3]]);
        assert_eq!(rounds(&mut waiting(&[2; FEW + 1])).len(), 2);
    }

    #[test]
    fn nothing_joins_a_suspect_and_everything_passes_once_it_is_answered() {
        let mut all = waiting(&[3]);
        let mut other = all.pop(0).unwrap();
        other.hang_ups = 0;
        assert!(!all.lets_pass(&other));
        all.push(other);
        assert!(all.pop(1).is_none());
        let other = all.pop(0).unwrap();
        assert!(all.lets_pass(&other));
    }

    #[test]
    fn the_others_go_first_once_a_connection_was_lost_because_of_a_suspect() {
        let mut all = waiting(&[3]);
        let suspect = all.pop(0).unwrap();
        let other = waiting(&[0]).pop(0).unwrap();
        all.on_disconnect();
        all.push(suspect);
        all.push(other);
        // The replies to the handshake are still to come.
        assert!(all.pop(2).is_none());
        assert_eq!(rounds(&mut all), [vec![0], vec![3]]);
    }

    #[test]
    fn a_suspect_waits_until_the_commands_under_way_are_answered() {
        let mut all = waiting(&[2, 0]);
        assert!(all.pop(5).is_none());
        assert_eq!(rounds(&mut all), [vec![2], vec![0]]);
    }
}
