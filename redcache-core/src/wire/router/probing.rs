//! Probes that keep the near cache fresh while its entries are hits.
//!
//! Each answered command raises the bound of its connection. If there are hits but no command for a
//! third of `near_staleness_max`, a `PING` is sent. Without hits and commands, the probes end.

use std::time::{Duration, Instant};

use crate::api::config::Config;

/// The number of probes within `near_staleness_max`, so that two may be late.
const PROBES: u32 = 3;

/// The state that decides whether probes are needed.
#[derive(Debug, Default)]
pub(super) struct Probing {
    /// The end of the probes, unless there are more hits or commands.
    until: Option<Instant>,
    /// The number of hits at the last call of `on_hits`.
    hits: u64,
}

impl Probing {
    /// Record that a command is sent.
    pub(super) fn on_command(&mut self, now: Instant, config: &Config) {
        if !config.near_staleness_max.is_zero() {
            self.until = Some(now + config.near_staleness_max);
        }
    }

    /// Record the number of hits so far. Call it at each timeout.
    pub(super) fn on_hits(&mut self, now: Instant, hits: u64, config: &Config) {
        if hits != self.hits {
            self.hits = hits;
            self.on_command(now, config);
        }
        self.until = self.until.filter(|until| now <= *until);
    }

    /// Return the silence after which a connection is probed, if probes are needed.
    pub(super) fn interval(&self, config: &Config) -> Option<Duration> {
        self.until.map(|_| interval(config))
    }

    /// Return the instant at which to probe a connection that sent its last command at `sent_at`.
    pub(super) fn due_at(&self, sent_at: Instant, config: &Config) -> Option<Instant> {
        let at = sent_at + interval(config);
        self.until.is_some_and(|until| at <= until).then_some(at)
    }
}

fn interval(config: &Config) -> Duration {
    config.near_staleness_max / PROBES
}
