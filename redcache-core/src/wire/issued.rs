//! A command on its way to a server.

use std::time::Instant;

use crate::protocol::command::{Command, Token};
use crate::protocol::refusal::Refusal;
use crate::protocol::slot::Slot;

/// A command that the router has accepted and that has no answer yet.
#[derive(Debug)]
pub(crate) struct Issued {
    /// `None` once the sender was told that no answer came in time.
    pub(super) token: Option<Token>,
    pub(super) command: Command,
    /// The slot of the command's key.
    pub(super) slot: Slot,
    pub(super) issued_at: Instant,
    /// When the command last entered a pipeline.
    pub(super) sent_at: Instant,
    /// How many bytes the command took when it last entered a pipeline.
    pub(super) size: usize,
    /// How many times the command was sent.
    pub(super) attempts: u8,
    /// The command may have been executed on a connection that was lost before the reply.
    pub(super) interrupted: bool,
    /// How many times a node has redirected the command.
    pub(super) redirects: u8,
    /// How many times the command was sent again after a pause.
    pub(super) pauses: u8,
    /// The last refusal of the command, which was then sent again.
    pub(super) last_refusal: Option<Refusal>,
    /// The command goes to a node that is importing its slot, behind `ASKING`.
    pub(super) asking: bool,
    /// The command is never batched again, because a batch left its answer unclear.
    pub(super) alone: bool,
}

impl Issued {
    pub(super) fn new(now: Instant, token: Token, command: Command, slot: Slot) -> Self {
        Self {
            token: Some(token),
            command,
            slot,
            issued_at: now,
            sent_at: now,
            size: 0,
            attempts: 0,
            interrupted: false,
            redirects: 0,
            pauses: 0,
            last_refusal: None,
            asking: false,
            alone: false,
        }
    }
}
