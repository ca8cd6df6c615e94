//! Server administration: `FLUSHALL`, `FLUSHDB`, `DBSIZE`, `INFO`, `ROLE`, `CONFIG`, `DEBUG`.

mod config;
mod info;

use super::command::{ALLOW_LOADING, Command, Keys, NO_SCRIPT, READ, WRITE};
use crate::server::call::Call;
use crate::server::keyspace::DATABASES;
use crate::server::reply::{Reply, ReplyError};

pub(super) const COMMANDS: &[Command] = &[
    Command::new("flushall", -1, WRITE, Keys::None, flush_all),
    Command::new("flushdb", -1, WRITE, Keys::None, flush_one),
    Command::new("dbsize", 1, READ, Keys::None, size),
    Command::new("info", -1, ALLOW_LOADING, Keys::None, info::info),
    Command::new("role", 1, ALLOW_LOADING | NO_SCRIPT, Keys::None, role),
    Command::family("config", config::SUBCOMMANDS),
    Command::new("debug", -2, ALLOW_LOADING | NO_SCRIPT, Keys::None, debug),
];

fn flush_all(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    check_flush_option(call)?;
    for database in 0..DATABASES {
        call.server.keyspace.clear(database);
    }
    call.server.invalidate_all();
    Ok(Reply::OK)
}

fn flush_one(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    check_flush_option(call)?;
    let database = call.database();
    call.server.keyspace.clear(database);
    call.server.invalidate_all();
    Ok(Reply::OK)
}

fn check_flush_option(call: &Call<'_>) -> Result<(), ReplyError> {
    match call.args.len() {
        1 => Ok(()),
        2 if call.is(1, "SYNC") || call.is(1, "ASYNC") => Ok(()),
        _ => Err(ReplyError::SYNTAX.into()),
    }
}

fn size(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    Ok(Reply::count(call.server.keyspace.len(call.database())))
}

/// Reply as a primary without replicas, or as a replica, that has replicated nothing.
fn role(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let parts = if call.server.is_replica() {
        let port = Reply::Integer(6379);
        let state = Reply::bulk("connected");
        vec![Reply::bulk("slave"), Reply::bulk("redis"), port, state, Reply::Integer(0)]
    } else {
        vec![Reply::bulk("master"), Reply::Integer(0), Reply::Array(Vec::new())]
    };
    Ok(Reply::Array(parts))
}

fn debug(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    if !call.is(1, "SET-ACTIVE-EXPIRE") || call.args.len() != 3 {
        return Err(ReplyError::not_modelled("DEBUG other than SET-ACTIVE-EXPIRE"));
    }
    call.server.config.active_expiry = !call.is(2, "0");
    Ok(Reply::OK)
}
