//! The options of calls.

use std::time::Duration;

use redcache_core::CallOptions;
use redcache_core::engine::{LoadOptions, LoaderId};

/// The options of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CallStyle {
    pub(crate) skip_near: bool,
    pub(crate) reload: bool,
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_staleness: Option<Duration>,
    /// Whether the call uses the registered loader.
    pub(crate) is_refreshing: bool,
    /// Whether the call is made after the faults and must succeed.
    pub(crate) is_probe: bool,
}

impl CallStyle {
    pub(crate) fn options(self) -> CallOptions {
        let mut options = CallOptions::new();
        if self.skip_near {
            options = options.skip_near();
        }
        if self.reload {
            options = options.reload();
        }
        if let Some(max) = self.max_staleness {
            options = options.max_staleness(max);
        }
        match self.deadline {
            Some(after) => options.timeout(after),
            None => options,
        }
    }

    /// Return the options for a call that loads; `loader_id` is the registered loader.
    pub(crate) fn load(self, ttl: Duration, loader_id: Option<LoaderId>) -> LoadOptions {
        let load = LoadOptions::new(ttl, self.options());
        match loader_id.filter(|_| self.is_refreshing) {
            Some(loader_id) => load.refreshed_by(loader_id),
            None => load,
        }
    }

    /// Return whether the near cache must not answer.
    pub(crate) fn is_past_near(self) -> bool {
        self.skip_near || self.reload
    }
}
