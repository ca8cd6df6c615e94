//! The fetch of one key, as its flight carries it.

use std::time::{Duration, Instant};

use crate::api::key::Key;
use crate::api::options::LoadOptions;
use crate::flow::call::Caller;
use crate::flow::get::{Get, Input};
use crate::flow::pace::Patience;
use crate::flow::timers::Timer;
use crate::near::Absence;

/// The key and options of a caller.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) options: LoadOptions,
    /// The start of the caller's waits for the locks of others in an earlier flight.
    pub(super) waits_since: Option<Instant>,
}

/// The fetch of one key.
#[derive(Debug)]
pub(super) struct Fetch {
    /// `None` only while a step runs.
    pub(super) state: Option<Get>,
    pub(super) patience: Patience,
    /// The first caller's options.
    pub(super) options: LoadOptions,
    /// The start of the fetch's wait for the locks of others.
    pub(super) waiting_since: Option<Instant>,
    /// The knowledge about the absence of the key's value in Redis.
    pub(super) absence: Absence,
    /// The instant at which the value that the fetch may end with was known to be current.
    pub(super) fresh_at: Option<Instant>,
    pub(super) timer: Option<(Timer, Instant)>,
    /// The leader's face runs its loader.
    pub(super) has_begun: bool,
    /// The caller whose loader returned the value that is being published. If that caller has left,
    /// its successor did not load.
    pub(super) loaded_by: Option<Caller>,
}

impl Fetch {
    pub(super) fn new(options: LoadOptions, waits_since: Option<Instant>) -> Self {
        Self {
            state: None,
            patience: Patience::begun(waits_since),
            options,
            waiting_since: None,
            absence: Absence::Unknown,
            fresh_at: None,
            timer: None,
            has_begun: false,
            loaded_by: None,
        }
    }

    /// Return whether the fetch loads without a lock in Redis.
    pub(super) fn is_direct(&self) -> bool {
        self.state.as_ref().is_some_and(Get::is_direct)
    }

    /// Return whether the fetch awaits only a reply of Redis before it loads or ends.
    pub(super) fn is_reading(&self) -> bool {
        self.state.as_ref().is_some_and(Get::is_reading)
    }

    pub(super) fn is_loading(&self) -> bool {
        matches!(self.state, Some(Get::Loading { .. }))
    }

    pub(super) fn is_publishing(&self) -> bool {
        matches!(self.state, Some(Get::Publishing { .. }))
    }

    /// Record the TTL with which the value was published.
    pub(super) fn on_published(&mut self, ttl: Duration) {
        if let Some(Get::Publishing { found, .. }) = &mut self.state {
            found.ttl = Some(ttl);
        }
    }

    /// Return whether the fetch waits for the lock of another caller.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, Some(Get::AwaitUnlock))
    }

    /// Return the instant at which the load of the fetch began.
    pub(super) fn loading_since(&self) -> Option<Instant> {
        match &self.state {
            Some(Get::Loading { since, .. }) => Some(*since),
            Some(_) | None => None,
        }
    }

    /// Restart the load timeout of the fetch.
    pub(super) fn restart_load(&mut self, now: Instant) {
        if let Some(Get::Loading { since, .. }) = &mut self.state {
            *since = now;
        }
    }

    /// Record whether an input shows that the key has no value. A value ends the fetch, so any
    /// other reply means that there is none.
    pub(super) fn note_absence(&mut self, input: &Input) {
        match input {
            Input::Read(_) | Input::WriteLocked { .. } | Input::Effect(_) => {
                self.absence = Absence::Confirmed;
            }
            Input::Failed(_) => self.absence = Absence::Unknown,
            Input::Refused(_)
            | Input::Loaded(_)
            | Input::LoadFailed(_)
            | Input::Abandoned
            | Input::Woken
            | Input::WaitOver
            | Input::LoadDue => {}
        }
    }

    /// Return whether the fetch will load in any case and has not begun to load.
    pub(super) fn will_reload(&self) -> bool {
        self.options.reload && (self.is_reading() || self.is_waiting())
    }
}
