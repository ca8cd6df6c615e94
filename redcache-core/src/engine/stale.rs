//! Outdated entries of the near cache as answers instead of errors and waits.

use std::time::{Duration, Instant};

use super::env::{Cx, Env};
use crate::api::answer::Answer;
use crate::api::key::Key;
use crate::near::{Absence, Staleness};

impl Env {
    /// Return whether an outdated entry can ever answer a call.
    pub(crate) fn allows_stale(&self) -> bool {
        !(self.config.stale_if_error.is_zero() && self.config.stale_while_revalidate.is_zero())
    }

    /// Return the outdated entry that may answer a call instead of an error.
    pub(crate) fn stale_if_error(&self, cx: Cx, key: &Key, absence: Absence) -> Option<Answer> {
        self.stale(cx, key, self.config.stale_if_error, absence)
    }

    /// Return the outdated entry that may answer a call without a reply. It must have been current
    /// at `fresh_since` or later.
    pub(crate) fn stale_since(
        &self,
        cx: Cx,
        key: &Key,
        fresh_since: Option<Instant>,
    ) -> Option<Answer> {
        let answer = self.stale_if_error(cx, key, Absence::Unknown)?;
        is_recent(cx, &answer, fresh_since).then_some(answer)
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

/// Return whether a stale answer was current at `fresh_since` or later.
pub(crate) fn is_recent(cx: Cx, answer: &Answer, fresh_since: Option<Instant>) -> bool {
    let Some(since) = fresh_since else { return true };
    let fresh_at = answer.fresh_as_of.and_then(|age| cx.now.checked_sub(age));
    fresh_at.is_some_and(|at| at >= since) || mutant!(StaleAnswersUnbounded)
}
