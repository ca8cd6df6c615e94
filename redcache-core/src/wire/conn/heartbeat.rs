//! The detection of a server that no longer answers.
//!
//! A reply is a sign of life, and so is progress of a large transfer in either direction. A push is
//! no sign of life: a server may send invalidations while it receives nothing from us.

use std::time::{Duration, Instant};

use crate::resp::Frame;

/// The number of further bytes of an unfinished reply that are a sign of life.
const PROGRESS: usize = 16 << 10;

/// The signs of life of one connection.
#[derive(Debug)]
pub(super) struct Heartbeat {
    last_sign: Instant,
    ping_sent: Option<Instant>,
    /// The number of bytes of the unfinished reply at the last sign of life.
    counted: usize,
    /// Whether a whole reply has arrived.
    has_heard: bool,
}

/// The next step on a silent connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulse {
    Alive,
    /// Send `PING`.
    Probe,
    /// The probe went unanswered.
    Dead,
}

impl Heartbeat {
    pub(super) fn new(now: Instant) -> Self {
        Self { last_sign: now, ping_sent: None, counted: 0, has_heard: false }
    }

    /// Record a whole frame.
    pub(super) fn on_frame(&mut self, now: Instant, frame: &Frame<'_>) {
        match frame {
            Frame::Push(_) => self.on_push(now),
            _ => self.on_reply(now),
        }
    }

    fn on_reply(&mut self, now: Instant) {
        self.counted = 0;
        self.has_heard = true;
        self.on_sign(now);
    }

    /// Return whether a reply has arrived.
    pub(super) fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// Record that `length` bytes of an unfinished reply have arrived.
    pub(super) fn on_part_of_reply(&mut self, now: Instant, length: usize) {
        if length >= self.counted + PROGRESS {
            self.counted = length;
            self.on_sign(now);
        }
    }

    fn on_push(&mut self, now: Instant) {
        if mutant!(PushTakenForLife) {
            self.on_sign(now);
        }
    }

    /// Record that the server accepts the bytes that are written.
    pub(super) fn on_written(&mut self, now: Instant) {
        self.on_sign(now);
    }

    fn on_sign(&mut self, now: Instant) {
        self.last_sign = now;
        // A `PING` may be queued behind a large value that is still being written.
        self.ping_sent = None;
    }

    /// Return the step that is due at [`due_at`](Self::due_at) or later.
    pub(super) fn check(&mut self, now: Instant, interval: Duration) -> Pulse {
        if now < self.due_at(interval) {
            return Pulse::Alive;
        }
        if self.ping_sent.replace(now).is_none() {
            return Pulse::Probe;
        }
        if mutant!(SilenceTolerated) { Pulse::Alive } else { Pulse::Dead }
    }

    /// Return the latest instant at which the server counts as dead without a further sign of life.
    pub(super) fn dead_at(&self, interval: Duration) -> Instant {
        self.last_sign + 2 * interval
    }

    pub(super) fn due_at(&self, interval: Duration) -> Instant {
        self.ping_sent.unwrap_or(self.last_sign) + interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn base() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        Instant::now()
    }

    /// Return the instant at which the connection is given up, if `sign` is called every 100 ms.
    fn dead_after(mut sign: impl FnMut(&mut Heartbeat, Instant)) -> Option<u64> {
        let begin = base();
        let mut heartbeat = Heartbeat::new(begin);
        (0..600).find(|tick| {
            let now = begin + Duration::from_millis(100 * tick);
            sign(&mut heartbeat, now);
            heartbeat.check(now, INTERVAL) == Pulse::Dead
        })
    }

    #[test]
    fn replies_and_large_transfers_are_signs_of_life_and_pushes_and_drops_are_not() {
        assert_eq!(dead_after(|_, _| {}), Some(100));
        assert_eq!(dead_after(Heartbeat::on_push), Some(100));
        assert_eq!(dead_after(Heartbeat::on_reply), None);
        assert_eq!(dead_after(Heartbeat::on_written), None);
        let mut length = 0;
        let dead = dead_after(|heartbeat, now| {
            length += 1;
            heartbeat.on_part_of_reply(now, length);
        });
        assert_eq!(dead, Some(100), "one byte after another");
        length = 0;
        let dead = dead_after(|heartbeat, now| {
            length += 1 << 10;
            heartbeat.on_part_of_reply(now, length);
        });
        assert_eq!(dead, None, "a large value on a slow line");
    }
}
