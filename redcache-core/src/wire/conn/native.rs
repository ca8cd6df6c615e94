//! The choice of the native commands of the server over scripts and pairs of commands.
//!
//! A native command that the server refuses is sent in the other form instead. After a permanent
//! refusal, so is every later command of its kind on the connection.

use super::awaited::Form;
use super::greeting::Greeting;
use crate::protocol::command::Command;
use crate::protocol::native::{Delete, NativeCommands};
use crate::protocol::redirect::Redirect;
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
    /// The command is sent as a script or a pair of commands.
    UseOther,
}

impl NativeSupport {
    /// Take the native commands of the server from its reply to `HELLO`.
    pub(super) fn on_greeting(&mut self, greeting: Option<Greeting>) {
        self.commands = greeting.map(|it| it.native).unwrap_or_default();
    }

    /// Return whether the server is one whose commands are known.
    pub(super) fn is_known(&self) -> bool {
        self.commands.set_get
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

    /// Return the native form of a command; `None` if it has none.
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
            // A value without its TTL is not kept, so the server need not track the key.
            Command::ReadOrLock { asks_ttl: false, .. } => {
                let is_possible = self.commands.set_get && !issued.asking && !issued.alone;
                is_possible.then_some(Form::SetGet)
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
                Command::ReadOrLock { .. } => self.commands.set_get = false,
                _ if command.has_ended() => self.commands.delete = None,
                _ => self.commands.set = false,
            }
            return Verdict::UseOther;
        }
        match command {
            // The script of a publication treats a key of another type as a lost lock.
            Command::Publish { .. } if refusal.0.starts_with("WRONGTYPE") => Verdict::NoMatch,
            // The script only sets the TTL, which needs no memory.
            Command::Renew { .. } if refusal.0.starts_with("OOM") => Verdict::UseOther,
            // The server may refuse to write and still answer reads.
            Command::ReadOrLock { .. } if !concerns_read(refusal) => Verdict::UseOther,
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

/// Return whether the server would refuse a `GET` for the same reason.
fn concerns_read(refusal: &Refusal) -> bool {
    let text = refusal.0.as_bytes();
    text.starts_with(b"WRONGTYPE") || refusal.is_oversized() || Redirect::concerns_whole(text)
}
