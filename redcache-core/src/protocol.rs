//! The cache protocol: commands, their replies, and the content of a key.
//!
//! The public part is for other readers of the keys, for tools and for tests.

pub(crate) mod authentication;
pub(crate) mod command;
pub(crate) mod encode;
pub(crate) mod envelope;
pub(crate) mod lock;
pub(crate) mod native;
pub(crate) mod oversized;
pub(crate) mod redirect;
pub(crate) mod refusal;
pub(crate) mod reply;
pub(crate) mod script;
pub(crate) mod sentinel;
pub(crate) mod slot;
pub(crate) mod topology;

pub use authentication::{write_auth, write_hello};
pub use envelope::{Stored, Value, open_envelope, write_envelope};
pub use redirect::moved_to;
pub use refusal::show_refusal;
pub use script::Script;
pub use slot::Slot;
pub use topology::{SlotOwner, slot_owners};

pub use crate::api::config::ENVELOPE_PREFIX;
