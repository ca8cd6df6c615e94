//! Refresh-ahead: keys that are due wait in a bounded queue for one of a few workers, which load all of them at once.
//!
//! ```text
//!  due ──▶ queue ──▶ Ask ──▶ Load ──▶ Publish ──▶ done
//!                    lock, look   loader   replace, unlock
//! ```
//!
//! A worker is a task or thread of the adapter: [`Event::Refresh`] calls for it, it begins with `begin_refresh`, runs the
//! loader, and says `handle_refresh_over` in the end, whatever has become of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;

use super::Engine;
use super::ops::Op;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::observer::{Observed, RefreshEvent};
use crate::api::options::{LoaderId, RefreshOptions};
use crate::event::Event;
use crate::flow::flights::OpId;
use crate::flow::refresh_policy::{RefreshPolicy, is_due};

mod job;

pub(super) use job::Job;

/// The registered loaders, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    families: Slab<Family>,
    generation: u32,
    /// Families with something in their queue that no worker was called for, in their order.
    waiting: VecDeque<LoaderId>,
    queued: usize,
    /// Workers that were called and are not over.
    workers: usize,
}

#[derive(Debug)]
struct Family {
    generation: u32,
    options: RefreshOptions,
    queue: VecDeque<Due>,
    /// Queued, or under way.
    pending: BTreeSet<Key>,
    /// A worker was called for it that has not begun yet.
    is_called: bool,
    failures: u32,
    rests_until: Option<Instant>,
    /// How long the loader itself wants keys to live, where it has said so.
    chosen: BTreeMap<Key, Duration>,
}

/// How many keys of a loader are remembered with the ttl that it has chosen for them.
const CHOSEN_MAX: usize = 1024;

impl Family {
    fn choose(&mut self, key: &Key, ttl: Option<Duration>) {
        match ttl {
            None => drop(self.chosen.remove(key)),
            Some(ttl) => {
                self.chosen.insert(key.clone(), ttl);
                if self.chosen.len() > CHOSEN_MAX {
                    self.chosen.pop_first();
                }
            }
        }
    }

    /// Whether a key has more of its life left than one that is due. What another process has stored lives as long as
    /// its loader has chosen, and would else be taken for old from its first read on, by one process after the other.
    fn is_early(&self, key: &Key, left: Duration) -> bool {
        let life = self.chosen.get(key).filter(|_| self.options.after > 0.0);
        life.is_some_and(|life| !is_due(&self.options, left, *life, Duration::ZERO, || 1.0))
    }
}

#[derive(Debug)]
struct Due {
    key: Key,
    expires_at: Instant,
}

impl Refreshes {
    fn family(&mut self, id: LoaderId) -> Option<&mut Family> {
        let family = self.families.get_mut(id.index as usize)?;
        (family.generation == id.generation).then_some(family)
    }
}

impl Engine {
    /// Registers a loader for refreshes. Its policy says which hits of the near cache are to be reported with
    /// [`refresh`](Self::refresh).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for options that cannot be, [`ErrorKind::Closed`] when the cache is.
    pub fn register_refresh(
        &mut self,
        now: Instant,
        options: RefreshOptions,
    ) -> Result<RefreshPolicy, Error> {
        self.check_open()?;
        super::check_ttl(options.ttl)?;
        options.check()?;
        let generation = self.refreshes.generation.wrapping_add(1);
        self.refreshes.generation = generation;
        let index = self.refreshes.families.insert(Family {
            generation,
            options,
            queue: VecDeque::new(),
            pending: BTreeSet::new(),
            is_called: false,
            failures: 0,
            rests_until: None,
            chosen: BTreeMap::new(),
        });
        // Registered loaders are held by the application, far fewer than 2^32.
        let family = LoaderId { index: index as u32, generation };
        Ok(RefreshPolicy::new(now, family, options, self.rng.next()))
    }

    /// Forgets a loader. What it is loading is still published.
    pub fn unregister_refresh(&mut self, family: LoaderId) {
        if self.refreshes.family(family).is_some() {
            let gone = self.refreshes.families.remove(family.index as usize);
            self.refreshes.queued -= gone.queue.len();
        }
    }

    /// A read has found that a key is due, whose value lives until `expires_at`.
    pub fn refresh(&mut self, now: Instant, family: LoaderId, key: Key, expires_at: Instant) {
        let is_full = self.refreshes.queued >= self.config.refresh_queue_max;
        let Some(entry) = self.refreshes.family(family) else { return };
        if entry.is_early(&key, expires_at.saturating_duration_since(now)) {
            return;
        }
        let rests = entry.rests_until.is_some_and(|until| now < until);
        if rests || entry.pending.contains(&key) {
            self.stats.refreshes_skipped += 1;
            self.observed(|| Observed::Refresh(key, RefreshEvent::Skipped));
        } else if is_full {
            self.stats.refreshes_dropped += 1;
            self.observed(|| Observed::Refresh(key, RefreshEvent::Dropped));
        } else {
            entry.pending.insert(key.clone());
            entry.queue.push_back(Due { key: key.clone(), expires_at });
            self.refreshes.queued += 1;
            self.stats.refreshes_triggered += 1;
            self.observed(|| Observed::Refresh(key, RefreshEvent::Triggered));
            self.call_workers(family);
        }
    }

    /// The same for a value that Redis has just given.
    pub(super) fn refresh_if_due(
        &mut self,
        now: Instant,
        family: LoaderId,
        key: &Key,
        left: Duration,
        compute_time: Duration,
    ) {
        let Some(entry) = self.refreshes.family(family) else { return };
        let options = entry.options;
        let rng = &mut self.rng;
        if is_due(&options, left, options.ttl, compute_time, || 1.0 - rng.fraction())
            && let Some(expires_at) = now.checked_add(left)
        {
            self.refresh(now, family, key.clone(), expires_at);
        }
    }

    /// Calls for a worker for the family, and for as many as there may be.
    fn call_workers(&mut self, family: LoaderId) {
        let refreshes = &mut self.refreshes;
        let wants =
            refreshes.family(family).is_some_and(|it| !it.is_called && !it.queue.is_empty());
        if wants && !refreshes.waiting.contains(&family) {
            refreshes.waiting.push_back(family);
        }
        while self.refreshes.workers < self.config.refresh_workers {
            let Some(family) = self.refreshes.waiting.pop_front() else { return };
            if let Some(entry) = self.refreshes.family(family) {
                entry.is_called = true;
                self.refreshes.workers += 1;
                self.events.push_back(Event::Refresh { loader: family });
            }
        }
    }

    /// A worker is there: takes all that is queued for its loader. [`Event::LoadMany`] and then [`Event::Done`] follow, or
    /// just the latter when nothing is due any more.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] when the cache is, or the loader is not registered any more.
    pub fn begin_refresh(&mut self, now: Instant, family: LoaderId) -> Result<OpId, Error> {
        self.check_open()?;
        let entry = self.refreshes.family(family).ok_or_else(Error::closed)?;
        entry.is_called = false;
        let (queue, ttl) = (std::mem::take(&mut entry.queue), entry.options.ttl);
        self.refreshes.queued -= queue.len();
        let prefix = self.config.refresh_lock_prefix.as_bytes();
        let job = Job::new(family, ttl, queue.into_iter(), prefix);
        let op = self.ops.insert(Op::Refresh(Box::new(job)));
        self.ask_refresh(now, op);
        self.drain(now);
        Ok(op)
    }

    /// A worker is over, with its work done or not.
    pub fn handle_refresh_over(&mut self, now: Instant, family: LoaderId) {
        if mutant!(RefreshCostsWorker) && self.stats.refreshes_panicked > 0 {
            return;
        }
        self.refreshes.workers = self.refreshes.workers.saturating_sub(1);
        if let Some(entry) = self.refreshes.family(family) {
            entry.is_called = false;
        }
        self.call_workers(family);
        self.drain(now);
    }
}

/// The same name that redcache for Go gives it.
fn lock_key(prefix: &[u8], key: &Key) -> Key {
    Key::from([prefix, b"{", key.as_bytes(), b"}"].concat())
}

impl RefreshOptions {
    fn check(&self) -> Result<(), Error> {
        let wrong = if !(0.0..1.0).contains(&self.after) {
            format!("`refresh_at_fraction` is {}; it must be at least 0 and under 1", self.after)
        } else if !(self.beta >= 0.0 && self.beta.is_finite()) {
            format!("`refresh_beta` is {}; it must be 0 or more", self.beta)
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidInput, wrong))
    }
}
