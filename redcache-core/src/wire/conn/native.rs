//! The choice between a script and the server's own comparing commands.
//!
//! A command that the server refuses goes as a script instead. If the refusal will last, every
//! later one of its kind on the connection does, too.

use super::awaited::Form;
use super::greeting::Greeting;
use crate::protocol::command::Command;
use crate::protocol::native::{Delete, NativeCommands};
use crate::protocol::refusal::Refusal;
use crate::resp::Frame;
use crate::wire::issued::Issued;

/// Knowledge of a connection about its server's comparing commands.
#[derive(Debug, Default)]
pub(super) struct NativeSupport {
    commands: NativeCommands,
    /// The near cache keeps what is published, so the server has to track it.
    keeps_copies: bool,
    /// The server executes transactions for this login.
    transactions: bool,
}

/// The consequence of a refused native command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The caller receives the refusal.
    Stands,
    /// The key holds something else than was expected.
    NoMatch,
    /// The command goes as a script.
    UseScript,
}

impl NativeSupport {
    /// Learn the commands of the server from its reply to `HELLO`.
    pub(super) fn on_greeting(&mut self, frame: &Frame<'_>) {
        self.commands = Greeting::of(frame).map(|it| it.native).unwrap_or_default();
    }

    /// Begin with commands. Return whether the server is to be asked for transactions.
    pub(super) fn on_ready(&mut self, keeps_copies: bool) -> bool {
        self.keeps_copies = keeps_copies && !mutant!(PublicationNotReadBack);
        self.commands.set && self.keeps_copies
    }

    /// The server executes transactions.
    pub(super) fn on_transactions(&mut self) {
        self.transactions = true;
    }

    /// Return how to send a command without a script; `None` if it needs one.
    pub(super) fn form(&self, issued: &Issued) -> Option<Form> {
        if issued.by_script {
            return None;
        }
        match issued.command {
            Command::Release { .. } => self.commands.delete.map(Form::Native),
            Command::Publish { .. } if self.keeps_copies => {
                // Each command of a transaction would need an `ASKING`, which `MULTI` would queue.
                let is_possible = self.commands.set && self.transactions && !issued.asking;
                is_possible.then_some(Form::Transaction)
            }
            Command::Publish { .. } | Command::Renew { .. } | Command::Restore { .. } => {
                // No deletion is among them.
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

    /// Take the refusal of a native command, which has not written.
    pub(super) fn on_refused(&mut self, command: &Command, refusal: &Refusal) -> Verdict {
        if is_lasting(refusal) && !mutant!(NativeRefusalStands) {
            match command {
                Command::Release { .. } => self.commands.delete = None,
                _ => self.commands.set = false,
            }
            return Verdict::UseScript;
        }
        match command {
            // The script of a publication takes a key of another type for a lost lock.
            Command::Publish { .. } if refusal.0.starts_with("WRONGTYPE") => Verdict::NoMatch,
            // The script only sets the TTL, which needs no memory.
            Command::Renew { .. } if refusal.0.starts_with("OOM") => Verdict::UseScript,
            _ => Verdict::Stands,
        }
    }

    /// Take the refusal of a transaction. Return whether no later one will do.
    pub(super) fn on_transaction_refused(&mut self, refusal: &Refusal) -> bool {
        // Without an earlier refusal, `EXEC` itself is not allowed.
        let is_lasting = is_lasting(refusal) || refusal.0.starts_with("EXECABORT");
        self.transactions &= !is_lasting;
        is_lasting
    }
}

/// Return whether the server does not know the command, or the login may never use it.
fn is_lasting(refusal: &Refusal) -> bool {
    let is_unknown_form = ["ERR syntax error", "ERR EXEC without MULTI"];
    refusal.forbids_command()
        || refusal.is_unknown_command()
        || is_unknown_form.into_iter().any(|begins| refusal.0.starts_with(begins))
}
