//! The probes by subject; [`super::play`] describes their syntax.

pub(super) mod cluster;
pub(super) mod handshake;
pub(super) mod keys;
pub(super) mod native;
pub(super) mod own_changes;
pub(super) mod request;
pub(super) mod script;
pub(super) mod tracking;
pub(super) mod trouble;
