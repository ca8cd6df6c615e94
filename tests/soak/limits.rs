//! The settings of the caches, and the limits that follow from them.

use std::time::Duration;

pub(crate) const LOCK_TTL: Duration = Duration::from_secs(1);
pub(crate) const LOAD_TIMEOUT: Duration = Duration::from_secs(2);
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) const SETTINGS: &str = "lock_ttl=1s&load_timeout=2s&command_timeout=500ms&connect_timeout=500ms&\
    heartbeat_interval=200ms&reconnect_delay_max=50ms";

/// The longest time of a call, which waits for a lock and loads while every step may time out.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(8);

/// The time that the fleet has to end its calls and close.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(30);
