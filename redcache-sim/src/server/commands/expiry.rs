//! Time to live: `TTL`, `PTTL`, `EXPIRE`, `PEXPIRE`, `PERSIST`.

use super::command::{Command, Keys, READ, WRITE};
use crate::server::call::Call;
use crate::server::keyspace::Entry;
use crate::server::reply::{Reply, ReplyError};

pub(super) const COMMANDS: &[Command] = &[
    Command::new("ttl", 2, READ, Keys::First, |call| remaining(call, 1000)),
    Command::new("pttl", 2, READ, Keys::First, |call| remaining(call, 1)),
    Command::new("expire", -3, WRITE, Keys::First, |call| expire(call, 1000)),
    Command::new("pexpire", -3, WRITE, Keys::First, |call| expire(call, 1)),
    Command::new("persist", 2, WRITE, Keys::First, persist),
];

/// Return a TTL in milliseconds and the moment at which it ends.
pub(super) fn deadline(call: &Call<'_>, ttl: i64, unit_ms: i64) -> Result<(i64, i64), ReplyError> {
    let ttl = ttl.checked_mul(unit_ms);
    let sum = ttl.and_then(|ttl| Some((ttl, call.now_ms().checked_add(ttl)?)));
    sum.ok_or_else(|| invalid(call))
}

pub(super) fn invalid(call: &Call<'_>) -> ReplyError {
    let command = call.text(0).to_lowercase();
    ReplyError::new(format!("ERR invalid expire time in '{command}' command"))
}

fn remaining(call: &mut Call<'_>, unit_ms: i64) -> Result<Reply, ReplyError> {
    let now = call.now_ms();
    let answer = match call.lookup(&call.args[1]) {
        None => -2,
        Some(Entry { expires_at: None, .. }) => -1,
        // Seconds are rounded to the nearest.
        Some(Entry { expires_at: Some(at), .. }) => ((at - now).max(0) + unit_ms / 2) / unit_ms,
    };
    Ok(Reply::Integer(answer))
}

fn persist(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let key = &call.args[1];
    let expires = call.lookup(key).is_some_and(|entry| entry.expires_at.is_some());
    if expires {
        call.set_expiry(key, None);
    }
    Ok(Reply::flag(expires))
}

fn expire(call: &mut Call<'_>, unit_ms: i64) -> Result<Reply, ReplyError> {
    let key = &call.args[1];
    let condition = Condition::parse(call)?;
    let (_, at) = deadline(call, call.integer(2)?, unit_ms)?;
    let Some(entry) = call.lookup(key) else {
        return Ok(Reply::Integer(0));
    };
    if !condition.allows(entry.expires_at, at) {
        return Ok(Reply::Integer(0));
    }
    if at <= call.now_ms() {
        call.delete(key);
    } else {
        call.set_expiry(key, Some(at));
    }
    Ok(Reply::Integer(1))
}

/// The conditions under which `EXPIRE` changes a key.
#[derive(Debug, Default)]
struct Condition {
    only_persistent: bool,
    only_volatile: bool,
    only_later: bool,
    only_sooner: bool,
}

impl Condition {
    fn parse(call: &Call<'_>) -> Result<Self, ReplyError> {
        let mut it = Self::default();
        for at in 3..call.args.len() {
            match call.args[at].to_ascii_uppercase().as_slice() {
                b"NX" => it.only_persistent = true,
                b"XX" => it.only_volatile = true,
                b"GT" => it.only_later = true,
                b"LT" => it.only_sooner = true,
                _ => {
                    let option = call.text(at);
                    return Err(ReplyError::new(format!("ERR Unsupported option {option}")));
                }
            }
        }
        if it.only_persistent && (it.only_volatile || it.only_later || it.only_sooner) {
            return Err(
                "ERR NX and XX, GT or LT options at the same time are not compatible".into()
            );
        }
        if it.only_later && it.only_sooner {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(it)
    }

    /// Return whether the change is allowed. No TTL counts as the longest.
    fn allows(&self, old: Option<i64>, new: i64) -> bool {
        !(self.only_persistent && old.is_some()
            || self.only_volatile && old.is_none()
            || self.only_later && old.is_none_or(|old| new <= old)
            || self.only_sooner && old.is_some_and(|old| new >= old))
    }
}
