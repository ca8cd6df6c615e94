//! Strings: `GET`, `MGET`, `STRLEN`, `SET`, `GETDEL`, `GETEX`.

use bytes::Bytes;

use super::command::{Command, DENY_OOM, Keys, READ, WRITE};
use super::expiry;
use crate::server::call::Call;
use crate::server::keyspace::Value;
use crate::server::reply::{Reply, ReplyError};

pub(super) const COMMANDS: &[Command] = &[
    Command::new("get", 2, READ, Keys::First, get),
    Command::new("mget", -2, READ, Keys::All, mget),
    Command::new("strlen", 2, READ, Keys::First, strlen),
    Command::new("set", -3, WRITE | DENY_OOM, Keys::First, set),
    Command::new("getdel", 2, WRITE, Keys::First, getdel),
    Command::new("getex", -2, WRITE, Keys::First, getex),
];

fn get(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let value = call.string(&call.args[1])?;
    Ok(value.map_or(Reply::Null, Reply::Bulk))
}

fn mget(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    // `MGET` reads a key of another type as missing, where `GET` fails.
    let values = call.args[1..].iter().map(|key| match call.string(key) {
        Ok(Some(value)) => Reply::Bulk(value),
        Ok(None) | Err(_) => Reply::Null,
    });
    Ok(Reply::Array(values.collect()))
}

fn strlen(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let value = call.string(&call.args[1])?;
    Ok(Reply::count(value.map_or(0, |value| value.len())))
}

fn getdel(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let value = call.string(&call.args[1])?;
    call.delete(&call.args[1]);
    Ok(value.map_or(Reply::Null, Reply::Bulk))
}

fn getex(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    if call.args.len() > 2 {
        return Err(ReplyError::not_modelled("GETEX with an option"));
    }
    get(call)
}

fn set(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let (key, value) = (&call.args[1], &call.args[2]);
    let options = SetOptions::parse(call)?;
    let ttl = match options.ttl {
        Some((at, unit_ms)) => Some(expiry::deadline(call, call.integer(at)?, unit_ms)?),
        None => None,
    };
    if ttl.is_some_and(|(ttl, _)| ttl <= 0) {
        return Err(expiry::invalid(call));
    }
    let old = if options.get { Some(call.string(key)?) } else { None };
    let present = call.lookup(key);
    let kept = present.and_then(|entry| entry.expires_at).filter(|_| options.keep_ttl);
    let refused = options.only_if_present.is_some_and(|wanted| wanted != present.is_some());
    if !refused {
        let expires_at = ttl.map(|(_, at)| at).or(kept);
        call.store(key, Value::String(Bytes::clone(value)), expires_at);
    }
    Ok(match old {
        Some(old) => old.map_or(Reply::Null, Reply::Bulk),
        None if refused => Reply::Null,
        None => Reply::OK,
    })
}

#[derive(Debug, Default)]
struct SetOptions {
    /// `XX` is true, `NX` is false.
    only_if_present: Option<bool>,
    get: bool,
    keep_ttl: bool,
    /// The index of the TTL among the arguments, and its unit in milliseconds.
    ttl: Option<(usize, i64)>,
}

impl SetOptions {
    fn parse(call: &Call<'_>) -> Result<Self, ReplyError> {
        let mut options = Self::default();
        let mut at = 3;
        while at < call.args.len() {
            let free = options.ttl.is_none() && !options.keep_ttl;
            let followed = at + 1 < call.args.len();
            if call.is(at, "GET") {
                options.get = true;
            } else if call.is(at, "NX") && options.only_if_present != Some(true) {
                options.only_if_present = Some(false);
            } else if call.is(at, "XX") && options.only_if_present != Some(false) {
                options.only_if_present = Some(true);
            } else if call.is(at, "KEEPTTL") && options.ttl.is_none() {
                options.keep_ttl = true;
            } else if (call.is(at, "PX") || call.is(at, "EX")) && free && followed {
                options.ttl = Some((at + 1, if call.is(at, "PX") { 1 } else { 1000 }));
                at += 1;
            } else if call.is(at, "PXAT") || call.is(at, "EXAT") {
                return Err(ReplyError::not_modelled("SET with a moment to expire at"));
            } else {
                return Err(ReplyError::SYNTAX.into());
            }
            at += 1;
        }
        Ok(options)
    }
}
