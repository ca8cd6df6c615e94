//! Probes that keep the bound of the near cache low while its entries are hits.
//!
//! Each answered command raises the bound of its connection. If hits are served and no command is
//! sent for a third of `near_staleness_max`, a `PING` takes its place. Without hits and commands,
//! the probes end.

use std::time::{Duration, Instant};

use crate::api::config::Config;

/// The number of probes within `near_staleness_max`, so that two may be late.
const PROBES: u32 = 3;

/// The need for probes.
#[derive(Debug, Default)]
pub(super) struct Probing {
    /// The end of the probes, unless there are more hits or commands.
    until: Option<Instant>,
    /// The number of hits at the last look.
    hits: u64,
}

impl Probing {
    /// Take the news that a command is sent.
    pub(super) fn on_command(&mut self, now: Instant, config: &Config) {
        if !config.near_staleness_max.is_zero() {
            self.until = Some(now + config.near_staleness_max);
        }
    }

    /// Take the number of hits so far, at each timeout.
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

    /// Return when a connection is to be probed that has sent its last command at `sent_at`.
    pub(super) fn due_at(&self, sent_at: Instant, config: &Config) -> Option<Instant> {
        let at = sent_at + interval(config);
        self.until.is_some_and(|until| at <= until).then_some(at)
    }
}

fn interval(config: &Config) -> Duration {
    config.near_staleness_max / PROBES
}
