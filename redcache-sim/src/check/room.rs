//! The limit of the unanswered bytes of a connection, and the commands that wait for room.

use redcache_core::{Error, ErrorKind};

use crate::invariant::{Checked, Invariant};
use crate::state::call::Call;
use crate::state::world::World;

/// More than the last command below the limit, the handshake and some heartbeats take.
const SLACK: u64 = 1_200;

impl World {
    /// Check that the commands which the server has not executed are within the limit.
    pub(crate) fn check_unanswered(&mut self, link: usize) -> Checked {
        let Some(max) = self.plan.unanswered_max else { return Ok(()) };
        let state = &mut self.links[link];
        let unanswered = state.up.sent - state.executed;
        if unanswered >= max {
            state.full_at = Some(self.now);
            self.tally.cover(Invariant::Unanswered);
        }
        Invariant::Unanswered.holds(unanswered <= max + SLACK, || {
            format!("link {link} has {unanswered} unanswered bytes, the limit is {max}")
        })
    }

    /// Count a call during which a connection of its process had no room.
    pub(super) fn cover_room(&mut self, call: usize) {
        let Call { process, started_at, .. } = self.calls[call];
        let was_full = |&link: &usize| self.links[link].full_at.is_some_and(|at| at >= started_at);
        if self.plan.only_unread && self.processes[process].links.iter().any(was_full) {
            self.tally.cover(Invariant::WaitsForRoom);
        }
    }

    /// Check that no call fails because the connection has no room.
    pub(super) fn check_waits_for_room(&self, call: usize, error: &Error) -> Checked {
        let lacks_room = matches!(
            error.kind(),
            ErrorKind::Overloaded
                | ErrorKind::Unavailable
                | ErrorKind::Timeout
                | ErrorKind::OutcomeUnknown
        );
        Invariant::WaitsForRoom.holds(!(self.plan.only_unread && lacks_room), || {
            format!("call {call} fails with {error:?}")
        })
    }
}
