//! Tasks that wait for a change of the cache's state: for `ready`, `close` and attempts to connect.

use std::task::Waker;

use slab::Slab;

/// The tasks that wait. Each has one entry, however often it is polled.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Slab<Waker>);

impl Watchers {
    /// Store the waker of a task in its entry `key`, and return the waker that it replaces.
    pub(crate) fn watch(&mut self, key: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        match key.and_then(|key| self.0.get_mut(key)) {
            Some(entry) => Some(std::mem::replace(entry, waker)),
            None => {
                *key = Some(self.0.insert(waker));
                None
            }
        }
    }

    /// Remove the entry of a task.
    pub(crate) fn forget(&mut self, key: Option<usize>) -> Option<Waker> {
        key.and_then(|key| self.0.try_remove(key))
    }

    /// Return the wakers of all tasks.
    pub(crate) fn all(&self) -> impl Iterator<Item = Waker> {
        self.0.iter().map(|(_, waker)| waker.clone())
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
        assert_eq!(watchers.all().count(), 2);
        watchers.forget(one);
        assert_eq!(watchers.all().count(), 1);
        watchers.forget(other);
        assert_eq!(watchers.all().count(), 0);
    }
}
