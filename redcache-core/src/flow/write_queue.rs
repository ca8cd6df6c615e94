//! Who writes which key under its lock, in the order they came: within a process writes of one key take turns without
//! a word to Redis.
//!
//! A write lines up for all its keys at once. So of two writes the same one is ahead wherever they meet, and the first
//! of all is first everywhere: no two can wait for each other.

use std::collections::{BTreeMap, VecDeque};

use crate::api::key::Key;
use crate::flow::flights::{Caller, OpId};

#[derive(Debug, Default)]
pub(crate) struct Writers {
    lines: BTreeMap<Key, VecDeque<Caller>>,
}

impl Writers {
    /// Lines up for `key`; `true` when nobody is ahead.
    pub(crate) fn line_up(&mut self, key: &Key, caller: Caller) -> bool {
        let line = self.lines.entry(key.clone()).or_default();
        line.push_back(caller);
        line.len() == 1 || mutant!(WritersOutOfTurn)
    }

    /// Whose turn it is.
    pub(crate) fn first(&self, key: &Key) -> Option<Caller> {
        self.lines.get(key)?.front().copied()
    }

    /// Leaves the line of `key`; gives the one whose turn it is by that.
    pub(crate) fn leave(&mut self, key: &Key, op: OpId) -> Option<Caller> {
        let line = self.lines.get_mut(key)?;
        let at = line.iter().position(|caller| caller.op == op)?;
        line.remove(at);
        if line.is_empty() {
            self.lines.remove(key);
            return None;
        }
        line.front().copied().filter(|_| at == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(index: u32) -> Caller {
        Caller { op: OpId { index, generation: 0 }, slot: 0 }
    }

    #[test]
    fn writers_of_a_key_take_turns_in_the_order_they_came() {
        let (mut writers, key) = (Writers::default(), Key::from("k"));
        let [first, second, third] = [1, 2, 3].map(caller);
        assert!(writers.line_up(&key, first));
        assert!(!writers.line_up(&key, second));
        assert!(!writers.line_up(&key, third));
        assert_eq!(writers.leave(&key, second.op), None);
        assert_eq!(writers.first(&key), Some(first));
        assert_eq!(writers.leave(&key, first.op), Some(third));
        assert_eq!(writers.leave(&key, third.op), None);
        assert_eq!(writers.first(&key), None);
        assert!(writers.lines.is_empty());
    }
}
