//! The lookup of a batch in the near cache, which leaves the missing keys for Redis.

use std::time::Instant;

use super::entry::NearHit;
use super::store::Near;
use crate::api::answer::Answer;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::options::CallOptions;

/// The answers of a batch, in the order of its keys, with gaps for the keys that are not near.
#[derive(Debug)]
pub struct Batch<E> {
    answers: Vec<Result<Answer, E>>,
    /// The positions of the gaps.
    gaps: Vec<usize>,
    far: Vec<Key>,
}

impl<E: From<CallError>> Batch<E> {
    /// Look up each key at the time `now`, unless `options` skip the near cache.
    pub fn ask<K: AsRef<[u8]>>(
        near: &Near,
        keys: impl IntoIterator<Item = K>,
        options: CallOptions,
        now: Instant,
    ) -> Self {
        Self::ask_and_note(near, keys, options, now, |_, _| {})
    }

    /// Look up each key like [`ask`](Self::ask), and pass each hit to `note`.
    pub fn ask_and_note<K: AsRef<[u8]>>(
        near: &Near,
        keys: impl IntoIterator<Item = K>,
        options: CallOptions,
        now: Instant,
        mut note: impl FnMut(&[u8], &NearHit),
    ) -> Self {
        let keys = keys.into_iter();
        let answers = Vec::with_capacity(keys.size_hint().0);
        let mut batch = Self { answers, gaps: Vec::new(), far: Vec::new() };
        let mut lookups = near.lookups(now, options.staleness_max());
        for key in keys {
            let hit = options.asks_near().then(|| lookups.get(key.as_ref())).flatten();
            if let Some(hit) = &hit {
                note(key.as_ref(), hit);
            }
            let answer = hit.map(Answer::from);
            batch.answers.push(Ok(answer.unwrap_or_else(|| {
                batch.gaps.push(batch.answers.len());
                batch.far.push(Key::copy_from(key.as_ref()));
                Answer::none()
            })));
        }
        batch
    }

    /// Return `true` if every key was near.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Take the keys of the gaps, in order.
    pub fn take_far(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.far)
    }

    /// Fill the gaps with the answers for the keys of [`take_far`](Self::take_far), in their order.
    pub fn fill(mut self, found: Vec<Result<Answer, CallError>>) -> Vec<Result<Answer, E>> {
        for (gap, result) in self.gaps.into_iter().zip(found) {
            self.answers[gap] = result.map_err(E::from);
        }
        self.answers
    }

    /// Return the answers of a complete batch.
    pub fn into_answers(self) -> Vec<Result<Answer, E>> {
        self.answers
    }
}
