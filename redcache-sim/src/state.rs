//! The state of a simulated world, without the events that change it.

pub(crate) mod call;
pub(crate) mod call_style;
pub(crate) mod cluster;
pub(crate) mod executed;
pub(crate) mod link;
pub(crate) mod near_history;
pub(crate) mod node;
pub(crate) mod pauses;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod queue;
pub(crate) mod slot_map;
pub(crate) mod token;
pub(crate) mod trace;
pub(crate) mod world;
