//! A command between its acceptance by the router and its answer.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use crate::protocol::command::{Command, Token};
use crate::protocol::refusal::Refusal;
use crate::protocol::slot::Slot;
use crate::wire::pieces::Pieces;

/// A command that the router has accepted and that has no answer yet. It moves through many hands,
/// so its state is in a box.
#[derive(Debug)]
pub(crate) struct Issued(Box<State>);

/// The state of an issued command.
#[derive(Debug)]
pub(crate) struct State {
    /// The sender; `None` after the sender was notified of a timeout.
    pub(crate) token: Option<Token>,
    pub(crate) command: Command,
    /// The slot of the command's key.
    pub(crate) slot: Slot,
    pub(super) issued_at: Instant,
    /// The instant at which the command last entered a pipeline.
    pub(crate) sent_at: Instant,
    /// The number of bytes that the command took when it last entered a pipeline.
    pub(super) size: usize,
    /// The number of times that the command was sent.
    pub(super) attempts: u8,
    /// The command may have been executed on a connection that was lost before the reply.
    pub(crate) interrupted: bool,
    /// The number of times that a node has redirected the command.
    pub(super) redirects: u8,
    /// The number of times that the command was sent again after a pause.
    pub(super) pauses: u8,
    /// The last refusal of the command, after which it was sent again.
    pub(super) last_refusal: Option<Refusal>,
    /// The command is sent after `ASKING`, to a node that is importing its slot.
    pub(super) asking: bool,
    /// The command is never batched again, because a batch left its answer unclear.
    pub(super) alone: bool,
    /// The number of times that the server hung up while the command was unanswered.
    pub(super) hang_ups: u8,
    /// The server stopped reading before the command.
    pub(super) unread: bool,
    /// The command is sent as a script or a pair of commands, because the server has refused the
    /// native command.
    pub(super) by_script: bool,
    /// The pieces of a read whose value was large.
    pub(super) pieces: Option<Box<Pieces>>,
}

/// The commands that may be unanswered beside a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Any,
    /// A few other suspects.
    Few,
    None,
}

/// The number of times that a command is sent before its failure is final.
pub(super) const ATTEMPTS_MAX: u8 = 5;
/// The size from which a command is the first suspect of a hang-up.
const LARGE: usize = 1 << 20;
/// The number of hang-ups after which a command is sent with few others.
const FEW_FROM: u8 = 2;
/// The number of hang-ups after which a command is sent alone.
const ALONE_FROM: u8 = 3;

impl Issued {
    pub(crate) fn new(now: Instant, token: Token, command: Command, slot: Slot) -> Self {
        Self(Box::new(State {
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
            hang_ups: 0,
            unread: false,
            by_script: false,
            pieces: None,
        }))
    }

    /// Return the state of a command whose way ends.
    pub(crate) fn into_state(self) -> State {
        *self.0
    }

    /// Return the commands that may be in flight beside the command. A single hang-up may have any
    /// cause, unless the command is large.
    pub(super) fn company(&self) -> Company {
        match self.hang_ups {
            0 => Company::Any,
            _ if mutant!(SuspectsInCompany) => Company::Any,
            // A lock must not outlive its call, so its release never waits.
            _ if self.command.releases_lock() => Company::Any,
            _ if self.size >= LARGE => Company::None,
            count if count >= ALONE_FROM => Company::None,
            count if count >= FEW_FROM => Company::Few,
            _ => Company::Any,
        }
    }

    /// Return whether the server has probably hung up because of the command.
    pub(super) fn is_culprit(&self) -> bool {
        self.hang_ups > ALONE_FROM || self.hang_ups > 0 && self.size >= LARGE
    }

    /// Record that the server hung up before the answer.
    pub(super) fn on_hang_up(&mut self) {
        self.hang_ups = self.hang_ups.saturating_add(1);
        self.alone = true;
    }

    /// Send the command alone, and once.
    pub(super) fn isolate(&mut self) {
        self.hang_ups = self.hang_ups.max(ALONE_FROM);
        self.alone = true;
        self.attempts = self.attempts.max(ATTEMPTS_MAX - 1);
    }
}

impl Deref for Issued {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for Issued {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}
