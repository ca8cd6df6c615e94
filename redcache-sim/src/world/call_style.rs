//! The choice of a call's options.

use std::time::Duration;

use crate::clock::Micros;
use crate::state::call::Kind;
use crate::state::call_style::CallStyle;
use crate::state::world::World;

impl World {
    /// Return the options of the next call.
    pub(crate) fn style(&mut self, kind: Kind) -> CallStyle {
        let mut style = CallStyle::default();
        let loads = matches!(kind, Kind::GetWith | Kind::GetManyWith);
        let refresh = self.plan.refresh.is_some();
        style.is_refreshing = refresh && loads && self.style_rng.chance(700);
        if self.plan.limits_staleness && self.freshness_rng.chance(500) {
            let millis = self.freshness_rng.pick(&[0, 0, 1, 5, 30, 200]);
            style.max_staleness = Some(Duration::from_millis(millis));
        }
        if !self.plan.has_call_styles || self.style_rng.chance(500) {
            return style;
        }
        let reads = matches!(kind, Kind::Get | Kind::GetMany | Kind::GetWith | Kind::GetManyWith);
        style.skip_near = reads && self.style_rng.chance(250);
        style.reload = reads && self.style_rng.chance(300);
        // A load handed over by a deadline takes its lock twice.
        if !self.plan.is_undisturbed && self.style_rng.chance(400) {
            let millis = self.style_rng.pick(&[0, 1, 5, 30, 200]);
            style.deadline = Some(Duration::from_micros(1000 * millis + 300));
        }
        style
    }

    /// Return the time after its start by which a call with a deadline must have ended.
    pub(crate) fn bound(&self, process: usize, style: CallStyle) -> Option<Micros> {
        style.deadline.map(|after| self.processes[process].clock.stretch(after))
    }

    /// Record that a reload begins or ends. A reload runs its own flights beside the existing ones,
    /// and calls that joined it may continue to reload.
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
    /// Return whether a call joins others that may continue to reload.
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
