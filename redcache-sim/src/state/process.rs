//! One process: an engine, its clock, and the data that the simulator records about it.

use std::time::Instant;

use redcache_core::engine::{Engine, LoaderId, OpId, RefreshPolicy};

use crate::clock::{Micros, SkewedClock};
use crate::history::Stamp;
use crate::state::near_history::NearHistory;
use crate::state::pauses::Pauses;
use crate::state::slot_map::SlotMap;

/// The knowledge of a process about one key.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Learned {
    /// The time at which its latest acknowledged write took effect.
    pub(crate) own_write: Stamp,
    /// The time at which the value that the process last saw became true.
    pub(crate) seen: Stamp,
    /// The number of the process's running loads of the key.
    pub(crate) loads: u32,
    /// The time at which the last of its loads ended; [`Micros::MAX`] while one runs.
    pub(crate) load_until: Micros,
    /// The time at which the process last lost its own lock of the key.
    pub(crate) lock_lost: Stamp,
    /// The number of the process's calls with a loader that wait for the key.
    pub(crate) waiting: u32,
    /// The time at which the last of these calls ended.
    pub(crate) idle_since: Micros,
    /// The time at which the process last read or set the TTL of the key.
    pub(crate) ttl_known: Stamp,
    /// The time at which a command last named the key.
    pub(crate) named_at: Micros,
    /// The number of refresh locks granted, and of refresh loads started.
    pub(crate) refresh_grants: u32,
    pub(crate) refresh_loads: u32,
    /// The least remaining TTL of its reads since the last refresh lock.
    pub(crate) least_left: Option<Micros>,
    /// The time at which a reload of the key last began or ended.
    pub(crate) reloaded_at: Micros,
    /// The start of the latest insert or remove that failed because Redis could not be reached,
    /// unless a newer one has succeeded.
    pub(crate) failed_removal: Option<Stamp>,
    /// The start of the latest insert or remove that failed for any reason, unless a newer one has
    /// succeeded.
    pub(crate) failed_write: Option<Stamp>,
    /// The number of forbidden releases of its locks.
    pub(crate) unreleased: u32,
    /// Whether an insert or remove of the key has failed, or lost its caller.
    pub(crate) has_failed_write: bool,
    pub(crate) has_dropped_write: bool,
    /// A commit was cut off, and it is unclear which lock it has left.
    pub(crate) has_cut_off: bool,
    /// A commit of its own has ended, so the removal after it may be repeated.
    pub(crate) has_changed: bool,
    /// The last write that superseded a running load, so that a second load may run beside it.
    pub(crate) replaced: Stamp,
}

/// Writes of a process to one key: requested, executed and reported.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writes {
    pub(crate) asked: u64,
    pub(crate) effective: u64,
    pub(crate) void: u64,
    pub(crate) told_effective: u64,
    pub(crate) told_void: u64,
    /// The stamps of executed writes that no call has claimed.
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
    /// The number of restarts of the process; each life has a new engine.
    pub(crate) life: u32,
    pub(crate) is_open: bool,
    /// The time at which `close` was called, until [`redcache_core::engine::Event::Closed`]
    /// arrives.
    pub(crate) closing_since: Option<Micros>,
    /// The links that the engine uses or dials.
    pub(crate) links: Vec<usize>,
    pub(crate) timer_at: Option<Micros>,
    pub(crate) paused_until: Micros,
    pub(crate) pauses: Pauses,
    /// Whether the process was seen without outstanding replies at the end.
    pub(crate) was_idle: bool,
    /// The number of consecutive round trips, and the end of the last.
    pub(crate) round_trips: u32,
    pub(crate) round_trip_over_at: Micros,
    /// The time at which the process was last paused or crashed, from which its time limits count
    /// again.
    pub(crate) disrupted_at: Micros,
    /// Whether an insert or a remove has succeeded since the last check.
    pub(crate) has_replaced: bool,
    /// The running calls, by index of their id.
    pub(crate) calls: Vec<Option<(OpId, usize)>>,
    pub(crate) learned: Vec<Learned>,
    /// The slot map, as far as the process knows it.
    pub(crate) map: SlotMap,
    /// The servers to which the process lost a connection, and the times.
    pub(crate) lost: Vec<(Option<usize>, Micros)>,
    pub(crate) removes: Vec<Writes>,
    pub(crate) touches: Vec<Writes>,
    /// The entries seen in the near cache of the process, by key.
    pub(crate) near_history: Vec<NearHistory>,
    /// The policy that selects hits to refresh.
    pub(crate) policy: Option<RefreshPolicy>,
    /// The link that the process has read last.
    pub(crate) read_last: Option<usize>,
    /// The instant at which the near entry of each key was learned, and the link of its reply.
    pub(crate) sources: Vec<Option<(Instant, usize)>>,
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
            pauses: Pauses::default(),
            was_idle: false,
            round_trips: 0,
            round_trip_over_at: 0,
            disrupted_at: 0,
            has_replaced: false,
            calls: Vec::new(),
            learned: vec![Learned::default(); keys],
            map: SlotMap::new(keys),
            lost: Vec::new(),
            removes: vec![Writes::default(); keys],
            touches: vec![Writes::default(); keys],
            near_history: vec![NearHistory::default(); keys],
            policy: None,
            read_last: None,
            sources: vec![None; keys],
        }
    }

    /// Return the registered loader.
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

    /// Return the running call of `op`.
    pub(crate) fn call(&self, op: OpId) -> Option<usize> {
        let (known, call) = self.calls.get(op.index()).copied().flatten()?;
        (known == op).then_some(call)
    }

    pub(crate) fn pause(&mut self, from: Micros, until: Micros) {
        self.pauses.add(from, until);
        self.paused_until = self.paused_until.max(until);
        self.disrupted_at = self.paused_until;
    }

    /// Record that any outstanding write may have been executed.
    pub(crate) fn writes_unknown(&mut self, stamp: Stamp) {
        for learned in &mut self.learned {
            learned.replaced = stamp;
        }
    }

    /// Record that the process no longer uses a link.
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
