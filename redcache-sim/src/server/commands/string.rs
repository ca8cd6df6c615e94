//! Strings: `GET`, `MGET`, `GETRANGE`, `STRLEN`, `SET`, `GETDEL`, `GETEX`, `DELIFEQ`, `DELEX`.

use bytes::Bytes;

use super::command::{Command, DENY_OOM, Keys, READ, WRITE};
use super::expiry;
use crate::server::call::Call;
use crate::server::keyspace::Value;
use crate::server::reply::{Reply, ReplyError};

pub(super) const COMMANDS: &[Command] = &[
    Command::new("get", 2, READ, Keys::First, get),
    Command::new("mget", -2, READ, Keys::All, mget),
    Command::new("getrange", 4, READ, Keys::First, getrange),
    Command::new("strlen", 2, READ, Keys::First, strlen),
    Command::new("set", -3, WRITE | DENY_OOM, Keys::First, set),
    Command::new("getdel", 2, WRITE, Keys::First, getdel),
    Command::new("getex", -2, WRITE, Keys::First, getex),
    Command::new("delifeq", 3, WRITE, Keys::First, delifeq),
    Command::new("delex", -2, WRITE, Keys::First, delex),
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

fn getrange(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let (first, last) = (call.integer(2)?, call.integer(3)?);
    let (Ok(first), Ok(last)) = (usize::try_from(first), usize::try_from(last)) else {
        return Err(ReplyError::not_modelled("GETRANGE with a negative index"));
    };
    let value = call.string(&call.args[1])?.unwrap_or_default();
    let end = last.saturating_add(1).min(value.len());
    Ok(Reply::Bulk(if first < end { value.slice(first..end) } else { Bytes::new() }))
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

fn delifeq(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    delete_if_equal(call, 2)
}

fn delex(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    if call.args.len() != 4 || !call.is(2, "IFEQ") {
        return Err(ReplyError::not_modelled("DELEX without IFEQ"));
    }
    delete_if_equal(call, 3)
}

/// Delete the key if it holds the argument `at`.
fn delete_if_equal(call: &mut Call<'_>, at: usize) -> Result<Reply, ReplyError> {
    let is_equal = call.string(&call.args[1])?.as_ref() == Some(&call.args[at]);
    Ok(Reply::flag(is_equal && call.delete(&call.args[1])))
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
    let is_compared = options.compared.is_some();
    let found = if options.get || is_compared { call.string(key)? } else { None };
    let differs = options.compared.is_some_and(|at| found.as_ref() != Some(&call.args[at]));
    let old = options.get.then_some(found);
    let present = call.lookup(key);
    let kept = present.and_then(|entry| entry.expires_at).filter(|_| options.keep_ttl);
    let wanted = options.only_if_present;
    let refused = differs || wanted.is_some_and(|wanted| wanted != present.is_some());
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
    /// The index of the argument that the key must hold.
    compared: Option<usize>,
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
            let any_content = options.compared.is_none();
            let may_compare = any_content && call.server.config.knows_set_ifeq();
            if call.is(at, "GET") {
                options.get = true;
            } else if call.is(at, "NX") && any_content && options.only_if_present != Some(true) {
                options.only_if_present = Some(false);
            } else if call.is(at, "XX") && any_content && options.only_if_present != Some(false) {
                options.only_if_present = Some(true);
            } else if call.is(at, "IFEQ") && followed && may_compare {
                if options.only_if_present.is_some() {
                    return Err(ReplyError::SYNTAX.into());
                }
                options.compared = Some(at + 1);
                at += 1;
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
