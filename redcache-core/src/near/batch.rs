//! The near half of a batch: what the near cache answers at once, and what is left for Redis.

use std::time::Instant;

use crate::api::answer::Answer;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::options::CallOptions;
use crate::near::{Near, NearHit};

/// The answers to a batch, in the order of its keys, with gaps where the near cache had none.
#[derive(Debug)]
pub struct Batch<E> {
    answers: Vec<Result<Answer, E>>,
    /// Where the gaps are.
    gaps: Vec<usize>,
    far: Vec<Key>,
}

impl<E: From<CallError>> Batch<E> {
    /// Asks the near cache for each key, all at the one time `now`, unless `options` say not to.
    pub fn ask<K: AsRef<[u8]>>(
        near: &Near,
        keys: impl IntoIterator<Item = K>,
        options: CallOptions,
        now: Instant,
    ) -> Self {
        Self::ask_and_note(near, keys, options, now, |_, _| {})
    }

    /// The same with a look at each hit.
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
        let mut lookups = near.lookups(now);
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

    /// Whether the near cache had all.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Takes the keys that are left to ask Redis for, in order.
    pub fn take_far(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.far)
    }

    /// Fills the gaps with the answers to the far keys, in their order.
    pub fn fill(mut self, found: Vec<Result<Answer, CallError>>) -> Vec<Result<Answer, E>> {
        for (gap, result) in self.gaps.into_iter().zip(found) {
            self.answers[gap] = result.map_err(E::from);
        }
        self.answers
    }

    /// Gives the answers of a complete batch.
    pub fn into_answers(self) -> Vec<Result<Answer, E>> {
        self.answers
    }
}
