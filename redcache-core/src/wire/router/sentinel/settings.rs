//! The settings that concern sentinels.

use std::time::Duration;

use crate::protocol::sentinel::Login;

/// The settings that concern sentinels.
#[derive(Debug, Clone, Copy)]
pub(in crate::wire::router) struct Settings<'a> {
    pub(in crate::wire::router) service: &'a str,
    pub(in crate::wire::router) login: Option<Login<'a>>,
    /// A provider gives the credentials instead.
    pub(in crate::wire::router) has_provider: bool,
    /// The longest pause between two questions for the credentials.
    pub(in crate::wire::router) pause_max: Duration,
    pub(in crate::wire::router) connect_timeout: Duration,
    pub(in crate::wire::router) answer_timeout: Duration,
    /// How often the primary is asked for while nothing is wrong.
    pub(in crate::wire::router) interval: Duration,
}
