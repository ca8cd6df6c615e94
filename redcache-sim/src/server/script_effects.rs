//! The effects of redcache's own scripts.

use std::iter;

use bytes::Bytes;
use redcache_core::protocol::Script;

use super::instance::{ScriptCall, ScriptEffect};
use super::reply::{Reply, ReplyError};

/// Return the source and the effect of each script of redcache.
pub(super) fn all() -> [(&'static str, ScriptEffect); Script::ALL.len()] {
    Script::ALL.map(|script| (script.source(), effect_of(script)))
}

fn effect_of(script: Script) -> ScriptEffect {
    match script {
        Script::Publish => publish,
        Script::Replace => replace,
        Script::Release => release,
        Script::Renew => renew,
        Script::Touch => touch,
        Script::WriteLock => write_lock,
        Script::Restore => restore,
    }
}

fn publish(script: &mut ScriptCall<'_>) -> Result<Reply, ReplyError> {
    let (keys, (parts, _)) = (script.keys(), script.args().as_chunks::<3>());
    let mut done = Vec::new();
    for (key, [lock, ..]) in keys.iter().zip(parts) {
        let held = match script.call(&[b"GETEX", key]) {
            Err(error) if error.as_bytes().starts_with(b"WRONGTYPE") => Reply::Null,
            held => held?,
        };
        done.push(held == Reply::Bulk(lock.clone()));
    }
    for ((key, [_, value, ttl]), _) in keys.iter().zip(parts).zip(&done).filter(|(_, done)| **done)
    {
        script.call(&[b"SET", key, value, b"PX", ttl])?;
    }
    let keys = keys.iter().map(|key| &key[..]);
    script.call(&iter::once(&b"EXISTS"[..]).chain(keys).collect::<Vec<_>>())?;
    let mut done = done.into_iter().map(Reply::flag).collect::<Vec<_>>();
    Ok(if done.len() == 1 { done.remove(0) } else { Reply::Array(done) })
}

fn replace(script: &mut ScriptCall<'_>) -> Result<Reply, ReplyError> {
    let [key, lock, value, ttl] = words(script)?;
    if script.call(&[b"GET", key])? != Reply::Bulk(lock.clone()) {
        return Ok(Reply::Integer(0));
    }
    script.call(&[b"SET", key, value, b"PX", ttl])?;
    script.call(&[b"EXISTS", key])?;
    Ok(Reply::Integer(1))
}

fn release(script: &mut ScriptCall<'_>) -> Result<Reply, ReplyError> {
    let [key, lock] = words(script)?;
    if script.call(&[b"GET", key])? != Reply::Bulk(lock.clone()) {
        return Ok(Reply::Integer(0));
    }
    script.call(&[b"DEL", key])
}

fn renew(script: &mut ScriptCall<'_>) -> Result<Reply, ReplyError> {
    let [key, lock, ttl] = words(script)?;
    if script.call(&[b"GET", key])? != Reply::Bulk(lock.clone()) {
        return Ok(Reply::Integer(0));
    }
    script.call(&[b"PEXPIRE", key, ttl])
}

fn touch(script: &mut ScriptCall<'_>) -> Result<Reply, ReplyError> {
    let [key, lock_prefix, ttl] = words(script)?;
    match script.call(&[b"GET", key])? {
        Reply::Bulk(value) if !value.starts_with(lock_prefix) => {
            script.call(&[b"PEXPIRE", key, ttl])
        }
        _ => Ok(Reply::Integer(0)),
    }
}

fn write_lock(script: &mut ScriptCall<'_>) -> Result<Reply, ReplyError> {
    let [key, lock, ttl, lock_prefix] = words(script)?;
    let old = script.call(&[b"GET", key])?;
    let mut left = Reply::Integer(0);
    if let Reply::Bulk(value) = &old {
        left = script.call(&[b"PTTL", key])?;
        if value.starts_with(lock_prefix) {
            return Ok(Reply::Array(vec![Reply::Integer(0), old, left]));
        }
    }
    script.call(&[b"SET", key, lock, b"PX", ttl])?;
    Ok(Reply::Array(vec![Reply::Integer(1), old, left]))
}

fn restore(script: &mut ScriptCall<'_>) -> Result<Reply, ReplyError> {
    let [key, lock, value, ttl] = words(script)?;
    if script.call(&[b"GET", key])? != Reply::Bulk(lock.clone()) {
        return Ok(Reply::Integer(0));
    }
    if std::str::from_utf8(ttl).is_ok_and(|ttl| ttl.parse::<f64>().is_ok_and(|ttl| ttl > 0.0)) {
        script.call(&[b"SET", key, value, b"PX", ttl])?;
    } else {
        script.call(&[b"SET", key, value])?;
    }
    Ok(Reply::Integer(1))
}

/// Return `KEYS[1]` and the first arguments. A missing one is an error, as a `nil` in Lua.
fn words<'a, const N: usize>(script: &ScriptCall<'a>) -> Result<[&'a Bytes; N], ReplyError> {
    let words = script.keys().iter().take(1).chain(script.args()).take(N).collect::<Vec<_>>();
    let missing = "ERR Lua redis lib command arguments must be strings or integers";
    <[&Bytes; N]>::try_from(words).map_err(|_| missing.into())
}
