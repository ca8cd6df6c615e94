//! Queues the commands between `MULTI` and `EXEC`, and executes them.

use bytes::Bytes;

use super::client::ClientId;
use super::commands;
use super::commands::command::{Command, READ};
use super::instance::Server;
use super::reply::{Reply, ReplyError};
use super::transaction::Transaction;

impl Server {
    /// Queue a command that may run if its client is in a transaction. Return the reply.
    pub(super) fn queue(
        &mut self,
        client: ClientId,
        command: &Command,
        args: &[Bytes],
    ) -> Option<Result<Reply, ReplyError>> {
        let transaction = self.clients.get_mut(&client)?.transaction.as_mut()?;
        match command.name {
            "exec" | "discard" | "reset" => None,
            "multi" | "hello" | "client" => {
                transaction.is_aborted = true;
                Some(Err(ReplyError::not_modelled("this command in a transaction")))
            }
            _ => {
                transaction.commands.push(args.to_vec());
                Some(Ok(Reply::Status("QUEUED")))
            }
        }
    }

    /// Record the refusal of a command. It aborts the transaction of its client; the refusal of
    /// `EXEC` ends the transaction.
    pub(super) fn abort(
        &mut self,
        client: ClientId,
        args: &[Bytes],
        refusal: ReplyError,
    ) -> ReplyError {
        let Some(state) = self.clients.get_mut(&client) else { return refusal };
        let Some(transaction) = &mut state.transaction else { return refusal };
        transaction.is_aborted = true;
        if !args[0].eq_ignore_ascii_case(b"exec") {
            return refusal;
        }
        state.transaction = None;
        discarded(&refusal)
    }

    /// Run the commands of a transaction.
    pub(super) fn execute_transaction(
        &mut self,
        client: ClientId,
        transaction: Transaction,
    ) -> Result<Reply, ReplyError> {
        let Transaction { commands: queued, is_aborted } = transaction;
        if is_aborted {
            return Err("EXECABORT Transaction discarded because of previous errors.".into());
        }
        // Only known commands are queued.
        let found = |args: &Vec<Bytes>| commands::find(&args[0]);
        let commands: Vec<_> =
            queued.iter().filter_map(|args| found(args).map(|command| (command, args))).collect();
        for &(command, args) in &commands {
            self.check_slots(client, command, args)?;
            self.check_state(command).map_err(|refusal| discarded(&refusal))?;
        }
        let mut replies = Vec::new();
        for (command, args) in commands {
            let outcome = self.call(client, command, args);
            if command.has(READ) {
                self.remember_read(client, command.keys(args));
            }
            replies.push(outcome.unwrap_or_else(Reply::Error));
        }
        Ok(Reply::Array(replies))
    }
}

fn discarded(refusal: &ReplyError) -> ReplyError {
    let because = b"EXECABORT Transaction discarded because of: ";
    ReplyError::new([&because[..], refusal.as_bytes()].concat())
}
