//! One run of a registered loader.

use std::time::{Duration, Instant};

use super::loaders::Due;
use crate::api::key::Key;
use crate::api::options::LoaderId;
use crate::flow::refresh::{Context, Refresh};

/// Two reads of the same TTL differ by at most this part of it.
const SAME_TTL_PART: u32 = 32;

/// One run of a registered loader.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) loader: LoaderId,
    pub(super) ttl: Duration,
    pub(super) keys: Vec<KeyRefresh>,
    pub(super) phase: Phase,
    /// The number of keys that await a reply from Redis.
    pub(super) asking: usize,
    pub(super) timer: Option<Instant>,
    pub(super) has_failed: bool,
    pub(super) is_abandoned: bool,
}

/// One key of a job.
#[derive(Debug)]
pub(super) struct KeyRefresh {
    pub(super) due: Due,
    lock_key: Key,
    /// `None` before the start and after the end.
    pub(super) state: Option<Refresh>,
}

/// The awaited event of the job as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The refresh locks and the values.
    Ask,
    /// The loader's result.
    Load { since: Instant },
    /// The replies to the replacements.
    Publish,
}

impl Job {
    pub(super) fn new(
        loader: LoaderId,
        ttl: Duration,
        dues: impl Iterator<Item = Due>,
        lock_prefix: &[u8],
    ) -> Self {
        let refresh = |due: Due| {
            let lock_key = lock_key(lock_prefix, &due.key);
            KeyRefresh { due, lock_key, state: None }
        };
        Self {
            loader,
            ttl,
            keys: dues.map(refresh).collect(),
            phase: Phase::Ask,
            asking: 0,
            timer: None,
            has_failed: false,
            is_abandoned: false,
        }
    }

    /// Return the keys whose refresh has not ended.
    pub(super) fn open(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|it| it.state.is_some()).map(|it| &it.due.key)
    }
}

impl KeyRefresh {
    /// Return the context of a step.
    pub(super) fn context<'a>(&'a self, lock_prefix: &'a [u8], ttl: Duration) -> Context<'a> {
        let newer_after = self.due.expires_at + ttl / SAME_TTL_PART;
        Context { key: &self.due.key, lock_key: &self.lock_key, lock_prefix, newer_after }
    }
}

/// Return the key of a refresh lock, under the name that redcache for Go uses.
fn lock_key(prefix: &[u8], key: &Key) -> Key {
    Key::from([prefix, b"{", key.as_bytes(), b"}"].concat())
}
