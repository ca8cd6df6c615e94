//! The exchanges on a connection that show its round trip.
//!
//! A long message takes longer than a round trip on a slow line, and so does every exchange that
//! waits behind it. A read in pieces has several exchanges, of which the first counts.

use std::time::Instant;

/// The longest request or reply that takes no longer than a round trip. A batch is no longer.
const SHORT_MAX: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Trips {
    /// The instant at which the last long message had arrived.
    clear_since: Option<Instant>,
    /// The latest instant of the requests that were answered after a round trip.
    sent_at: Option<Instant>,
}

impl Trips {
    /// Record that a request of this length, or so much of a reply, has arrived.
    pub(super) fn on_message(&mut self, now: Instant, length: usize) {
        if length > SHORT_MAX {
            self.clear_since = Some(now);
        }
    }

    /// Record that a request of this size is answered.
    pub(super) fn on_answered(&mut self, now: Instant, sent_at: Instant, size: usize) {
        self.on_message(now, size);
        if self.clear_since.is_none_or(|since| since <= sent_at) {
            self.sent_at = self.sent_at.max(Some(sent_at));
        }
    }

    /// Take the instant at which the latest request was sent that was answered after a round trip.
    pub(super) fn take(&mut self) -> Option<Instant> {
        self.sent_at.take()
    }
}
