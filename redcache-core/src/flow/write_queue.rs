//! The order of this process's locked writes, key by key.
//!
//! Within a process, writes of one key take turns without traffic to Redis. A write enters the
//! queues of all its keys at once, so two writes have the same order wherever they meet, and no two
//! can wait for each other.

use std::collections::{BTreeMap, VecDeque};

use crate::api::key::Key;
use crate::flow::call::{Caller, OpId};

/// One queue of writers for each key that is being written.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    queues: BTreeMap<Key, VecDeque<Caller>>,
}

impl WriteQueue {
    /// Append the caller to the queue for `key`. Return `true` if the caller is its head.
    pub(crate) fn enqueue(&mut self, key: &Key, caller: Caller) -> bool {
        let queue = self.queues.entry(key.clone()).or_default();
        queue.push_back(caller);
        queue.len() == 1 || mutant!(WritersOutOfTurn)
    }

    /// Return the head of the queue for `key`.
    pub(crate) fn head(&self, key: &Key) -> Option<Caller> {
        self.queues.get(key)?.front().copied()
    }

    /// Remove the caller from the queue for `key`. Return the new head if the head changed.
    pub(crate) fn leave(&mut self, key: &Key, op: OpId) -> Option<Caller> {
        let queue = self.queues.get_mut(key)?;
        let at = queue.iter().position(|caller| caller.op == op)?;
        queue.remove(at);
        if queue.is_empty() {
            self.queues.remove(key);
            return None;
        }
        queue.front().copied().filter(|_| at == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(index: u32) -> Caller {
        Caller { op: OpId { index, generation: 0 }, slot: 0 }
    }

    #[test]
    fn writers_of_a_key_take_turns_in_the_order_of_their_arrival() {
        let (mut queue, key) = (WriteQueue::default(), Key::from("k"));
        let [first, second, third] = [1, 2, 3].map(caller);
        assert!(queue.enqueue(&key, first));
        assert!(!queue.enqueue(&key, second));
        assert!(!queue.enqueue(&key, third));
        assert_eq!(queue.leave(&key, second.op), None);
        assert_eq!(queue.head(&key), Some(first));
        assert_eq!(queue.leave(&key, first.op), Some(third));
        assert_eq!(queue.leave(&key, third.op), None);
        assert_eq!(queue.head(&key), None);
        assert!(queue.queues.is_empty());
    }
}
