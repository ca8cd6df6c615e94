//! The cache protocol: commands, their replies, and the content of a key.

pub(crate) mod command;
pub(crate) mod encode;
pub(crate) mod envelope;
pub(crate) mod lock;
pub(crate) mod oversized;
pub(crate) mod redirect;
pub(crate) mod refusal;
pub(crate) mod reply;
pub(crate) mod script;
pub(crate) mod sentinel;
pub(crate) mod slot;
pub(crate) mod topology;

pub use envelope::{Stored, Value, write_envelope};
pub use script::Script;
pub use slot::Slot;

pub use crate::api::config::ENVELOPE_PREFIX;
