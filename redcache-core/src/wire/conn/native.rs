//! The choice between scripts and the native commands of the server that compare and write.
//!
//! A native command that the server refuses is sent as a script instead. After a permanent refusal,
//! every later command of its kind on the connection is sent as a script, too.

use super::awaited::Form;
use super::greeting::Greeting;
use crate::protocol::command::Command;
use crate::protocol::native::{Delete, NativeCommands};
use crate::protocol::refusal::Refusal;
use crate::wire::issued::Issued;

/// The knowledge of a connection about its server's native commands.
#[derive(Debug, Default)]
pub(super) struct NativeSupport {
    commands: NativeCommands,
    /// The near cache keeps published values, so the server has to track their keys.
    keeps_copies: bool,
    /// The server executes transactions for this login.
    transactions: bool,
}

/// The consequence of a refused native command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The caller receives the refusal.
    Stands,
    /// The key does not hold the expected content.
    NoMatch,
    /// The command is sent as a script.
    UseScript,
}

impl NativeSupport {
    /// Take the native commands of the server from its reply to `HELLO`.
    pub(super) fn on_greeting(&mut self, greeting: Option<Greeting>) {
        self.commands = greeting.map(|it| it.native).unwrap_or_default();
    }

    /// Handle the end of the handshake. Return whether to test transactions.
    pub(super) fn on_ready(&mut self, keeps_copies: bool) -> bool {
        self.keeps_copies = keeps_copies && !mutant!(PublicationNotReadBack);
        self.commands.set && self.keeps_copies
    }

    /// Record that the server executes transactions.
    pub(super) fn on_transactions(&mut self) {
        self.transactions = true;
    }

    /// Return the form in which to send a command without a script; `None` if it needs one.
    pub(super) fn form(&self, issued: &Issued) -> Option<Form> {
        if issued.by_script {
            return None;
        }
        match issued.command {
            Command::Release { .. } => self.commands.delete.map(Form::Native),
            Command::Publish { .. } | Command::Restore { .. } if issued.command.has_ended() => {
                self.commands.delete.map(Form::Native)
            }
            Command::Publish { .. } if self.keeps_copies => {
                // Each command of a transaction would need an `ASKING`, which `MULTI` would queue.
                let is_possible = self.commands.set && self.transactions && !issued.asking;
                is_possible.then_some(Form::Transaction)
            }
            Command::Publish { .. } | Command::Renew { .. } | Command::Restore { .. } => {
                // None of these commands deletes a key now.
                self.commands.set.then_some(Form::Native(Delete::DelIfEq))
            }
            Command::Read { .. }
            | Command::ReadRaw { .. }
            | Command::ReadOrLock { .. }
            | Command::Lock { .. }
            | Command::Replace { .. }
            | Command::WriteLock { .. }
            | Command::Insert { .. }
            | Command::Remove { .. }
            | Command::Touch { .. } => None,
        }
    }

    /// Handle the refusal of a native command, which has not written.
    pub(super) fn on_refused(&mut self, command: &Command, refusal: &Refusal) -> Verdict {
        if refusal.is_lasting() && !mutant!(NativeRefusalStands) {
            match command {
                Command::Release { .. } => self.commands.delete = None,
                _ if command.has_ended() => self.commands.delete = None,
                _ => self.commands.set = false,
            }
            return Verdict::UseScript;
        }
        match command {
            // The script of a publication treats a key of another type as a lost lock.
            Command::Publish { .. } if refusal.0.starts_with("WRONGTYPE") => Verdict::NoMatch,
            // The script only sets the TTL, which needs no memory.
            Command::Renew { .. } if refusal.0.starts_with("OOM") => Verdict::UseScript,
            _ => Verdict::Stands,
        }
    }

    /// Handle the refusal of a transaction. Return whether the refusal is permanent.
    pub(super) fn on_transaction_refused(&mut self, refusal: &Refusal) -> bool {
        // Without an earlier refusal, `EXEC` itself is not allowed.
        let is_lasting = refusal.is_lasting() || refusal.0.starts_with("EXECABORT");
        self.transactions &= !is_lasting;
        is_lasting
    }
}
