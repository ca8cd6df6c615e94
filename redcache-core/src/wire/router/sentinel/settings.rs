//! The settings that concern sentinels.

use std::time::Duration;

use crate::protocol::sentinel::Login;

/// The settings that concern sentinels.
#[derive(Debug, Clone, Copy)]
pub(in crate::wire::router) struct Settings<'a> {
    pub(in crate::wire::router) service: &'a str,
    pub(in crate::wire::router) login: Option<Login<'a>>,
    /// Whether a provider returns the credentials instead.
    pub(in crate::wire::router) has_provider: bool,
    /// The longest pause between two credentials requests.
    pub(in crate::wire::router) pause_max: Duration,
    pub(in crate::wire::router) connect_timeout: Duration,
    pub(in crate::wire::router) answer_timeout: Duration,
    /// The interval of the queries for the primary while it is connected.
    pub(in crate::wire::router) interval: Duration,
}
