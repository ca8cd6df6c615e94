//! How calls are made where that is not the default: past the near cache, with a load in any case, with a deadline.

use std::time::Duration;

use redcache_core::{CallOptions, LoadOptions, LoaderId};

use super::skew::Micros;
use super::{Kind, World};

/// What the options of a call are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) skip_near: bool,
    pub(crate) reload: bool,
    pub(crate) deadline: Option<Duration>,
    /// By the registered loader.
    pub(crate) is_refreshing: bool,
    /// It is made after the faults, and must succeed.
    pub(crate) is_probe: bool,
}

impl Manner {
    pub(crate) fn options(self) -> CallOptions {
        let mut options = CallOptions::new();
        if self.skip_near {
            options = options.skip_near();
        }
        if self.reload {
            options = options.reload();
        }
        match self.deadline {
            Some(after) => options.timeout(after),
            None => options,
        }
    }

    /// The same for a call that loads; `family` is the registered loader.
    pub(crate) fn load(self, ttl: Duration, family: Option<LoaderId>) -> LoadOptions {
        let load = LoadOptions::new(ttl, self.options());
        match family.filter(|_| self.is_refreshing) {
            Some(family) => load.refreshed_by(family),
            None => load,
        }
    }

    /// The near cache is not to answer.
    pub(crate) fn is_past_near(self) -> bool {
        self.skip_near || self.reload
    }
}

impl World {
    /// How the next call is made.
    pub(crate) fn manner(&mut self, kind: Kind) -> Manner {
        let mut manner = Manner::default();
        let loads = matches!(kind, Kind::GetWith | Kind::GetManyWith);
        let ahead = self.plan.refresh.is_some();
        manner.is_refreshing = ahead && loads && self.manner_dice.chance(700);
        if !self.plan.has_manners || self.manner_dice.chance(500) {
            return manner;
        }
        let reads = matches!(kind, Kind::Get | Kind::GetMany | Kind::GetWith | Kind::GetManyWith);
        manner.skip_near = reads && self.manner_dice.chance(250);
        manner.reload = reads && self.manner_dice.chance(300);
        // A load that a deadline hands over has its lock twice.
        if !self.plan.is_pristine && self.manner_dice.chance(400) {
            let millis = self.manner_dice.pick(&[0, 1, 5, 30, 200]);
            manner.deadline = Some(Duration::from_micros(1000 * millis + 300));
        }
        manner
    }

    /// When a call that has a deadline must be over, counted from its beginning.
    pub(crate) fn bound(&self, process: usize, manner: Manner) -> Option<Micros> {
        manner.deadline.map(|after| self.processes[process].clock.stretch(after))
    }

    /// Notes that a reload begins or ends. It has flights of its own beside those that are there, and those who joined
    /// it may go on reloading.
    pub(crate) fn supersede(&mut self, process: usize, keys: &[usize]) {
        self.stamp += 1;
        for &key in keys {
            let learned = &mut self.processes[process].learned[key];
            learned.replaced = self.stamp;
            learned.reloaded_at = self.now;
        }
        for &call in &self.waiting {
            let state = &mut self.calls[call];
            let is_concerned = state.process == process && state.kind.loads();
            state.is_superseded |= is_concerned && state.keys.iter().any(|key| keys.contains(key));
        }
    }
    /// Says whether a call joins others that may go on reloading.
    pub(crate) fn inherits_reload(&self, process: usize, kind: Kind, keys: &[usize]) -> bool {
        kind.loads()
            && self.waiting.iter().any(|&call| {
                let call = &self.calls[call];
                call.process == process
                    && call.is_superseded
                    && call.keys.iter().any(|key| keys.contains(key))
            })
    }
}
