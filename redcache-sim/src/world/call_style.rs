//! Which options a call has.

use std::time::Duration;

use crate::clock::Micros;
use crate::state::call::Kind;
use crate::state::call_style::Manner;
use crate::state::world::World;

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
