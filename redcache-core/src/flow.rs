//! What to do: each call's state machine, the registries of who does what, and the policies that pace them. Nothing here
//! knows how a command travels.

pub(crate) mod flights;
pub(crate) mod get;
pub(crate) mod held;
pub(crate) mod pace;
pub(crate) mod refresh;
pub(crate) mod refresh_policy;
pub(crate) mod set;
pub(crate) mod speculation;
pub(crate) mod timers;
pub(crate) mod write_queue;
