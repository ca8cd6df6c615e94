//! A standalone server that refuses writes with `READONLY`, because it is a replica.
//!
//! After a failover, the address of the former primary may lead to a replica for a while. So a
//! server that has refused a write is left, and replicas are rejected. If that lasts, the address
//! is meant to be one of a replica, which is read: its refusals are then answers. Now and then, one
//! of them ends the connection, because the next one may lead to a primary.

use std::time::{Duration, Instant};

/// The time for which replicas are rejected.
const REJECTED_FOR: Duration = Duration::from_secs(30);
/// The time for which the refusals of a replica are answers.
const READ_FOR: Duration = Duration::from_secs(30);

/// The refusals of writes by a server since its last write.
#[derive(Debug, Default)]
pub(super) struct Replica {
    refused_at: Option<Instant>,
    /// The end of the time in which the connected server is read although it may be a replica.
    read_until: Option<Instant>,
}

impl Replica {
    pub(super) fn on_refused(&mut self, now: Instant) {
        self.refused_at.get_or_insert(now);
        self.read_until = None;
    }

    /// Return whether the next server must be a primary.
    pub(super) fn is_rejected(&self, now: Instant) -> bool {
        self.refused_at.is_some_and(|at| now < at + REJECTED_FOR)
    }

    /// Return whether the connected server is of no use if it is a replica.
    pub(super) fn is_doubted(&self) -> bool {
        self.refused_at.is_some() && self.read_until.is_none()
    }

    pub(super) fn on_ready(&mut self, now: Instant) {
        let is_read = self.refused_at.is_some() && !self.is_rejected(now);
        self.read_until = is_read.then(|| now + READ_FOR);
    }

    /// Return whether the refusals of the connected server are answers.
    pub(super) fn is_read(&self, now: Instant) -> bool {
        self.read_until.is_some_and(|until| now < until)
    }

    pub(super) fn on_written(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_read_if_there_is_no_primary_for_long() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let mut replica = Replica::default();
        replica.on_ready(now);
        assert!(!replica.is_rejected(now) && !replica.is_read(now));
        replica.on_refused(now);
        assert!(replica.is_rejected(now) && replica.is_doubted());
        let later = now + REJECTED_FOR;
        assert!(!replica.is_rejected(later));
        replica.on_ready(later);
        assert!(replica.is_read(later) && !replica.is_doubted());
        assert!(!replica.is_read(later + READ_FOR));
        replica.on_refused(later + READ_FOR);
        assert!(!replica.is_rejected(later + READ_FOR), "it is dialed once");
        replica.on_written();
        replica.on_refused(later + READ_FOR);
        assert!(replica.is_rejected(later + READ_FOR));
    }
}
