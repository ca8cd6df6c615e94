//! How calls are made where that is not the default: past the near cache, with a load in any case, with a deadline.

use std::time::Duration;

use redcache_core::{CallOptions, LoadOptions, LoaderId};

/// What the options of a call are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CallStyle {
    pub(crate) skip_near: bool,
    pub(crate) reload: bool,
    pub(crate) deadline: Option<Duration>,
    /// By the registered loader.
    pub(crate) is_refreshing: bool,
    /// It is made after the faults, and must succeed.
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
        match self.deadline {
            Some(after) => options.timeout(after),
            None => options,
        }
    }

    /// The same for a call that loads; `family` is the registered loader.
    pub(crate) fn load(self, ttl: Duration, loader_id: Option<LoaderId>) -> LoadOptions {
        let load = LoadOptions::new(ttl, self.options());
        match loader_id.filter(|_| self.is_refreshing) {
            Some(loader_id) => load.refreshed_by(loader_id),
            None => load,
        }
    }

    /// The near cache is not to answer.
    pub(crate) fn is_past_near(self) -> bool {
        self.skip_near || self.reload
    }
}
