//! One process: an engine, the clock it reads, and what the world remembers of it.

use redcache_core::{Engine, LoaderId, OpId, RefreshPolicy};

use crate::clock::{Micros, SkewedClock};
use crate::history::Stamp;
use crate::state::near_history::NearHistory;
use crate::state::slot_map::Map;

/// What a process has learned of one key, over all its calls.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Learned {
    /// When the latest of its own writes took effect that it knows to have.
    pub(crate) own_write: Stamp,
    /// When what it last saw became true.
    pub(crate) seen: Stamp,
    /// How many of its loaders run, and of how many calls a load was taken over or is obsolete.
    pub(crate) loads: u32,
    /// When the last of its loads ended; [`Micros::MAX`] while one runs.
    pub(crate) load_until: Micros,
    /// When a lock of its own was last taken away, by whatever means.
    pub(crate) lock_lost: Stamp,
    /// How many of its calls with a loader wait for the key.
    pub(crate) waiting: u32,
    /// When the last of them ended.
    pub(crate) idle_since: Micros,
    /// When a command last named it.
    pub(crate) spoken_at: Micros,
    /// How many refresh locks it was granted, and for how many refreshes it has begun to load.
    pub(crate) refresh_grants: u32,
    pub(crate) refresh_loads: u32,
    /// Of its reads since the last such grant, the least that the value had left to live.
    pub(crate) least_left: Option<Micros>,
    /// When a call that reloads it last began or ended.
    pub(crate) reloaded_at: Micros,
    /// When a load that runs may have a second one beside it, because a write of the process has overwritten it.
    pub(crate) replaced: Stamp,
}

/// Writes of a process to one key: how many it asked for, how many were carried out and how, and how many it was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writes {
    pub(crate) asked: u64,
    pub(crate) effective: u64,
    pub(crate) void: u64,
    pub(crate) told_effective: u64,
    pub(crate) told_void: u64,
    /// Stamps of those carried out that no call has claimed.
    pub(crate) unclaimed: Vec<Stamp>,
}

impl Writes {
    pub(crate) fn carried_out(&self) -> u64 {
        self.effective + self.void
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) clock: SkewedClock,
    /// Which of its lives this is; each begins with a new engine.
    pub(crate) life: u32,
    pub(crate) is_open: bool,
    /// `close` was called and [`redcache_core::Event::Closed`] has not come.
    pub(crate) closing_since: Option<Micros>,
    /// The links that the engine uses or tries to make.
    pub(crate) links: Vec<usize>,
    pub(crate) timer_at: Option<Micros>,
    pub(crate) paused_until: Micros,
    /// It was seen to wait for no answer when everything was over.
    pub(crate) was_quiet: bool,
    /// The last moment at which it was paused or crashed; what it says about time starts over then.
    pub(crate) disrupted_at: Micros,
    /// The calls in flight, by index of their id.
    pub(crate) calls: Vec<Option<(OpId, usize)>>,
    pub(crate) learned: Vec<Learned>,
    /// What it has been told of its cluster.
    pub(crate) map: Map,
    /// Servers to which it has lost a connection, and when.
    pub(crate) lost: Vec<(Option<usize>, Micros)>,
    pub(crate) removes: Vec<Writes>,
    pub(crate) touches: Vec<Writes>,
    /// What was seen in its near cache, by key.
    pub(crate) near_history: Vec<NearHistory>,
    /// Says which hits are to be refreshed.
    pub(crate) policy: Option<RefreshPolicy>,
}

impl Process {
    pub(crate) fn new(engine: Engine, clock: SkewedClock, life: u32, keys: usize) -> Self {
        Self {
            engine,
            clock,
            life,
            is_open: true,
            closing_since: None,
            links: Vec::new(),
            timer_at: None,
            paused_until: 0,
            was_quiet: false,
            disrupted_at: 0,
            calls: Vec::new(),
            learned: vec![Learned::default(); keys],
            map: Map::new(keys),
            lost: Vec::new(),
            removes: vec![Writes::default(); keys],
            touches: vec![Writes::default(); keys],
            near_history: vec![NearHistory::default(); keys],
            policy: None,
        }
    }

    /// The loader that is registered for refreshes.
    pub(crate) fn loader_id(&self) -> Option<LoaderId> {
        self.policy.as_ref().map(RefreshPolicy::loader)
    }

    pub(crate) fn remember(&mut self, op: OpId, call: usize) {
        let index = op.index();
        if self.calls.len() <= index {
            self.calls.resize(index + 1, None);
        }
        self.calls[index] = Some((op, call));
    }

    /// The call that `op` names, if it is in flight.
    pub(crate) fn call(&self, op: OpId) -> Option<usize> {
        let (known, call) = self.calls.get(op.index()).copied().flatten()?;
        (known == op).then_some(call)
    }

    /// Writes that were under way may have been carried out, on any key.
    pub(crate) fn writes_unknown(&mut self, stamp: Stamp) {
        for learned in &mut self.learned {
            learned.replaced = stamp;
        }
    }

    /// Notes that it no longer uses a link, which was in use.
    pub(crate) fn lose(&mut self, link: usize, node: Option<usize>, was_passed: bool, now: Micros) {
        self.links.retain(|&other| other != link);
        if was_passed {
            self.lost.push((node, now));
        }
    }

    pub(crate) fn forget(&mut self, op: OpId) {
        if let Some(slot) = self.calls.get_mut(op.index()) {
            *slot = None;
        }
    }
}
