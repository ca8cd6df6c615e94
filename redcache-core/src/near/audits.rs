//! The choice of near hits whose keys are read again, to check that every invalidation arrives.

use std::sync::Mutex;

use crate::api::key::Key;

/// The largest number of keys that wait to be read.
const WAITING_MAX: usize = 16;

/// The keys of every n-th hit, which wait to be read.
#[derive(Debug)]
pub(super) struct Audits {
    /// The number of hits of which one is chosen; zero for none.
    every: u64,
    waiting: Mutex<Vec<Key>>,
}

impl Audits {
    pub(super) fn new(every: u64) -> Self {
        Self { every, waiting: Mutex::default() }
    }

    /// Record the hit with this number.
    #[inline]
    pub(super) fn on_hit(&self, number: u64, key: &[u8]) {
        if self.every != 0 && number.is_multiple_of(self.every) {
            self.choose(key);
        }
    }

    /// Add a key to the waiting ones, unless there are too many or another thread holds the lock: a
    /// hit never waits.
    #[cold]
    fn choose(&self, key: &[u8]) {
        if let Ok(mut waiting) = self.waiting.try_lock()
            && waiting.len() < WAITING_MAX
        {
            waiting.push(Key::copy_from(key));
        }
    }

    /// Take a waiting key.
    pub(super) fn take(&self) -> Option<Key> {
        if self.every == 0 {
            return None;
        }
        self.waiting.try_lock().ok()?.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(audits: &Audits) -> usize {
        std::iter::from_fn(|| audits.take()).count()
    }

    #[test]
    fn every_nth_hit_is_chosen_up_to_a_limit() {
        let audits = Audits::new(10);
        (1..=25).for_each(|number| audits.on_hit(number, b"k"));
        assert_eq!(taken(&audits), 2);
        (1..=1000).for_each(|number| audits.on_hit(number, b"k"));
        assert_eq!(taken(&audits), WAITING_MAX);
    }

    #[test]
    fn without_a_rate_no_hit_is_chosen() {
        let audits = Audits::new(0);
        (0..100).for_each(|number| audits.on_hit(number, b"k"));
        assert_eq!(taken(&audits), 0);
    }
}
