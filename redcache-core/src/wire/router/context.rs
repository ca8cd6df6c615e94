//! The context of one step of the router.

use std::time::Instant;

use crate::api::config::Config;
use crate::protocol::lock::LockSettings;

/// The inputs of a step of the router.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) lock_settings: &'a LockSettings,
}

/// Return the earlier of two deadlines.
pub(super) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
