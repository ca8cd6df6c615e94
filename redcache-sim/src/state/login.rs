//! A question for the provider of the credentials.

use redcache_core::engine::LoginId;

use crate::clock::Micros;
use crate::fault::Fault;

/// A question for the provider, and its answer.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) process: usize,
    /// The life of the process that asked.
    pub(crate) life: u32,
    /// The link that logs in.
    pub(crate) link: usize,
    pub(crate) id: LoginId,
    /// The password that the provider gives. No two questions get the same.
    pub(crate) password: String,
    /// The fault of the answer.
    pub(crate) fault: Option<Fault>,
    pub(crate) answered_at: Option<Micros>,
    /// When it was asked.
    pub(crate) asked_at: Micros,
}
