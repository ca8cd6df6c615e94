//! Whether the server still answers.

use std::time::{Duration, Instant};

/// The signs of life of one connection.
#[derive(Debug)]
pub(super) struct Heartbeat {
    last_inbound: Instant,
    ping_sent: Option<Instant>,
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
        Self { last_inbound: now, ping_sent: None }
    }

    pub(super) fn on_inbound(&mut self, now: Instant) {
        self.last_inbound = now;
        self.ping_sent = None;
    }

    /// Return what is due, at [`due_at`](Self::due_at) or later.
    pub(super) fn check(&mut self, now: Instant, interval: Duration) -> Pulse {
        if now < self.due_at(interval) {
            return Pulse::Alive;
        }
        if self.ping_sent.replace(now).is_none() {
            return Pulse::Probe;
        }
        if mutant!(SilenceTolerated) { Pulse::Alive } else { Pulse::Dead }
    }

    /// Return when the server is taken for dead at the latest, if it shows no life.
    pub(super) fn dead_at(&self, interval: Duration) -> Instant {
        self.last_inbound + 2 * interval
    }

    pub(super) fn due_at(&self, interval: Duration) -> Instant {
        self.ping_sent.unwrap_or(self.last_inbound) + interval
    }
}
