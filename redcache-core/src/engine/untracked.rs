//! Keys that are no longer tracked although their server is connected: the large link that has read
//! them is closed, or they have left it.

use std::time::Instant;

use super::env::Cx;
use super::state::Engine;
use crate::api::key::Key;

impl Engine {
    /// Handle the end of the tracking of these keys. Their near entries end, and the callers that
    /// wait for a change of them read them again.
    pub(super) fn on_untracked(&mut self, cx: Cx, keys: &[Key]) {
        for key in keys {
            if !mutant!(LargeLossKeepsNear) {
                self.env.near.remove(key.as_bytes());
            }
            if !mutant!(LargeLossWakesNobody) {
                self.wake(cx, key);
            }
        }
        // The bound depends on whether the large link has keys.
        self.env.note_freshness();
    }

    /// Close the large links that are idle. A link whose near entries are hits is kept, because
    /// they would end with it.
    pub(super) fn close_idle(&mut self, now: Instant) {
        let near = std::sync::Arc::clone(&self.env.near);
        let (router, context) = self.env.router(now);
        router.close_idle(context, |key| near.peek(key.as_bytes(), now).is_some());
    }
}
