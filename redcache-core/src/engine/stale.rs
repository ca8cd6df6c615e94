//! Outdated entries of the near cache in the place of errors and waits.

use std::time::Duration;

use super::env::{Cx, Env};
use crate::api::answer::Answer;
use crate::api::key::Key;
use crate::near::{Absence, Staleness};

impl Env {
    /// Return the outdated entry that may answer a call in the place of an error.
    pub(crate) fn stale_if_error(&self, cx: Cx, key: &Key, absence: Absence) -> Option<Answer> {
        self.stale(cx, key, self.config.stale_if_error, absence)
    }

    /// Return the outdated entry that may answer a call which would wait for another's load.
    pub(crate) fn stale_while_revalidate(
        &self,
        cx: Cx,
        key: &Key,
        absence: Absence,
    ) -> Option<Answer> {
        self.stale(cx, key, self.config.stale_while_revalidate, absence)
    }

    fn stale(&self, cx: Cx, key: &Key, max: Duration, absence: Absence) -> Option<Answer> {
        let staleness = Staleness { max, lost_at: self.disconnected_at };
        self.near.stale(key.as_bytes(), cx.now, staleness, absence)
    }
}
