//! Commands on which the server hangs up, and the calls beside them.

use redcache_core::{Error, ErrorKind};

use crate::invariant::{Checked, Invariant};
use crate::state::call::Kind;
use crate::state::world::World;

impl World {
    /// Count a call that the server's hang-ups have spared.
    pub(crate) fn cover_hang_up(&mut self, call: usize) {
        let is_spared = self.calls[call].keys.iter().any(|key| !self.fatal_keys.contains(key));
        if self.plan.only_hangs_up && !self.fatal_keys.is_empty() && is_spared {
            self.tally.cover(Invariant::HangUpAlone);
        }
    }

    /// Check that a call fails because Redis cannot be reached only if the server hangs up on its
    /// own key.
    pub(crate) fn check_hang_up(&self, call: usize, slot: usize, error: &Error) -> Checked {
        let state = &self.calls[call];
        let is_for_want_of_redis = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Timeout => true,
            // A write may have been executed.
            ErrorKind::OutcomeUnknown => !is_write(state.kind),
            _ => false,
        };
        let is_of_the_key = self.fatal_keys.contains(&state.keys[slot]);
        let is_broken = self.plan.only_hangs_up && is_for_want_of_redis && !is_of_the_key;
        Invariant::HangUpAlone
            .holds(!is_broken, || format!("call {call} of another key fails with {error:?}"))
    }
}

fn is_write(kind: Kind) -> bool {
    match kind {
        Kind::Insert
        | Kind::InsertMany
        | Kind::Remove
        | Kind::RemoveMany
        | Kind::Touch
        | Kind::TouchMany
        | Kind::Change
        | Kind::SetWith
        | Kind::SetManyWith => true,
        Kind::Get | Kind::GetMany | Kind::GetWith | Kind::GetManyWith | Kind::Refresh => false,
    }
}
