//! Transactions: `MULTI`, `EXEC`, `DISCARD`.

use super::command::{ALLOW_BUSY, ALLOW_LOADING, Command, Keys, NO_SCRIPT};
use crate::server::call::Call;
use crate::server::reply::{Reply, ReplyError};
use crate::server::transaction::Transaction;

const ALWAYS: u16 = NO_SCRIPT | ALLOW_LOADING;

pub(super) const COMMANDS: &[Command] = &[
    Command::new("multi", 1, ALWAYS | ALLOW_BUSY, Keys::None, multi),
    Command::new("exec", 1, ALWAYS, Keys::None, exec),
    Command::new("discard", 1, ALWAYS | ALLOW_BUSY, Keys::None, discard),
];

fn multi(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    if let Some(client) = call.state() {
        client.transaction = Some(Transaction::default());
    }
    Ok(Reply::OK)
}

fn exec(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let transaction = call.state().and_then(|client| client.transaction.take());
    let transaction = transaction.ok_or("ERR EXEC without MULTI")?;
    call.server.execute_transaction(call.client, transaction)
}

fn discard(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let transaction = call.state().and_then(|client| client.transaction.take());
    transaction.map(|_| Reply::OK).ok_or_else(|| "ERR DISCARD without MULTI".into())
}
