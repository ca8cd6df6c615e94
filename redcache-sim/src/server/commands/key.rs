//! Keys of any type: `EXISTS`, `TOUCH`, `TYPE`, `DEL`, `UNLINK`, and `HSET` to make a key of
//! another type.

use std::collections::BTreeMap;

use super::command::{Command, DENY_OOM, Keys, READ, WRITE};
use crate::server::call::Call;
use crate::server::keyspace::Value;
use crate::server::reply::{Reply, ReplyError};

pub(super) const COMMANDS: &[Command] = &[
    Command::new("exists", -2, READ, Keys::All, exists),
    Command::new("touch", -2, READ, Keys::All, exists),
    Command::new("type", 2, READ, Keys::First, kind),
    Command::new("del", -2, WRITE, Keys::All, delete),
    Command::new("unlink", -2, WRITE, Keys::All, delete),
    Command::new("hset", -4, WRITE | DENY_OOM, Keys::First, hset),
];

fn exists(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let present = call.args[1..].iter().filter(|key| call.lookup(key).is_some());
    Ok(Reply::count(present.count()))
}

fn kind(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let kind = match call.lookup(&call.args[1]).map(|entry| &entry.value) {
        Some(Value::String(_)) => "string",
        Some(Value::Hash(_)) => "hash",
        None => "none",
    };
    Ok(Reply::Status(kind))
}

fn delete(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let deleted = call.args[1..].iter().filter(|key| call.delete(key));
    Ok(Reply::count(deleted.count()))
}

fn hset(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let (key, fields) = (&call.args[1], &call.args[2..]);
    if fields.len() % 2 == 1 {
        return Err(ReplyError::arity("hset"));
    }
    let (mut hash, expires_at) = match call.lookup(key) {
        Some(entry) => match &entry.value {
            Value::Hash(hash) => (hash.clone(), entry.expires_at),
            Value::String(_) => return Err(ReplyError::WRONG_TYPE.into()),
        },
        None => (BTreeMap::new(), None),
    };
    let new =
        fields.chunks(2).filter(|pair| hash.insert(pair[0].clone(), pair[1].clone()).is_none());
    let new = new.count();
    call.store(key, Value::Hash(hash), expires_at);
    Ok(Reply::count(new))
}
