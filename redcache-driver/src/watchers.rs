//! Tasks that wait for a change of the cache's state: for `ready`, `close` and attempts to connect.

use std::task::Waker;

use slab::Slab;

/// The tasks that wait. Each has one entry, however often it is polled, with its waker until it is
/// woken.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Slab<Option<Waker>>);

impl Watchers {
    /// Store the waker of a task in its entry `key`, and return the waker that it replaces.
    pub(crate) fn watch(&mut self, key: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        match key.and_then(|key| self.0.get_mut(key)) {
            Some(entry) => entry.replace(waker),
            None => {
                *key = Some(self.0.insert(Some(waker)));
                None
            }
        }
    }

    /// Remove the entry of a task.
    pub(crate) fn forget(&mut self, key: Option<usize>) -> Option<Waker> {
        key.and_then(|key| self.0.try_remove(key)).flatten()
    }

    /// Take the wakers of all tasks. A task that is woken stores its waker again if it still waits.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Waker> {
        self.0.iter_mut().filter_map(|(_, waker)| waker.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_one_entry_however_often_it_is_polled() {
        let (mut watchers, mut one, mut other) = (Watchers::default(), None, None);
        for _ in 0..1_000 {
            watchers.watch(&mut one, Waker::noop().clone());
            watchers.watch(&mut other, Waker::noop().clone());
        }
        assert_eq!(watchers.take_all().count(), 2);
        assert_eq!(watchers.take_all().count(), 0);
        watchers.watch(&mut one, Waker::noop().clone());
        watchers.watch(&mut other, Waker::noop().clone());
        watchers.forget(one);
        assert_eq!(watchers.take_all().count(), 1);
        watchers.forget(other);
        assert_eq!(watchers.take_all().count(), 0);
    }
}
