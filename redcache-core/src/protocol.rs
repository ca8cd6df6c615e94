//! The language of the cache protocol: what is said to Redis, what it answers, and what a key may hold.

pub(crate) mod command;
pub(crate) mod encode;
pub(crate) mod envelope;
pub(crate) mod lock;
pub(crate) mod redirect;
pub(crate) mod reply;
pub(crate) mod script;
pub(crate) mod slot;
pub(crate) mod topology;
