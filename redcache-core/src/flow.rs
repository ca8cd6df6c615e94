//! The decisions: the state machine of each kind of call, the registries of calls in flight, and
//! the policies that pace them. No file of this module knows the connections that carry commands.

pub(crate) mod call;
pub(crate) mod flights;
pub(crate) mod generation;
pub(crate) mod generation_name;
pub(crate) mod get;
pub(crate) mod held;
pub(crate) mod pace;
pub(crate) mod publication;
pub(crate) mod refresh;
pub(crate) mod refresh_policy;
pub(crate) mod rereads;
pub(crate) mod set;
pub(crate) mod speculation;
pub(crate) mod superseded;
pub(crate) mod timers;
pub(crate) mod write_queue;
