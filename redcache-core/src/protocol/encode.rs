//! Encodes commands as RESP.

use std::time::Duration;

use super::command::Command;
use super::lock::LockSettings;
use crate::api::config::ENVELOPE_PREFIX;
use crate::api::key::Key;
use crate::protocol::envelope::{decimal_digits, push_decimal, write_envelope};
use crate::protocol::lock::LockId;
use crate::protocol::script::Script;

pub(crate) mod native;

impl Command {
    /// Append the command to `out`, its script by hash or with its source.
    pub(crate) fn encode(&self, locks: &LockSettings, by_hash: bool, out: &mut Vec<u8>) {
        match self {
            Self::Read { key, asks_ttl } => read(out, key, *asks_ttl),
            Self::ReadRaw { key } => read(out, key, true),
            Self::ReadOrLock { key, lock, asks_ttl } => {
                read(out, key, *asks_ttl);
                take_lock(out, locks, key, *lock);
            }
            Self::Lock { key, lock } => take_lock(out, locks, key, *lock),
            Self::Publish { key, lock, .. } | Self::Restore { key, lock, .. }
                if self.has_ended() =>
            {
                release(out, by_hash, key, |out| bulk_lock(out, locks, *lock));
            }
            Self::Replace { key, expected, .. } if self.has_ended() => {
                release(out, by_hash, key, |out| bulk(out, expected));
            }
            Self::Publish { key, lock, payload, compute_time, ttl } => {
                eval(out, Script::Publish, by_hash, 3, key);
                bulk_lock(out, locks, *lock);
                bulk_value(out, payload, *compute_time);
                bulk_milliseconds(out, *ttl);
            }
            Self::Replace { key, expected, payload, compute_time, ttl } => {
                eval(out, Script::Replace, by_hash, 3, key);
                bulk(out, expected);
                bulk_value(out, payload, *compute_time);
                bulk_milliseconds(out, *ttl);
            }
            Self::Release { key, lock } => {
                release(out, by_hash, key, |out| bulk_lock(out, locks, *lock));
            }
            Self::Renew { key, lock } => {
                eval(out, Script::Renew, by_hash, 2, key);
                bulk_lock(out, locks, *lock);
                bulk_milliseconds(out, locks.lock_ttl);
            }
            Self::WriteLock { key, lock } => {
                eval(out, Script::WriteLock, by_hash, 3, key);
                bulk_lock(out, locks, *lock);
                bulk_milliseconds(out, locks.lock_ttl);
                if mutant!(WriteLockOverLocks) {
                    return bulk(out, b"no lock begins like this");
                }
                bulk(out, &locks.lock_prefix);
            }
            Self::Restore { key, lock, raw, ttl } => {
                eval(out, Script::Restore, by_hash, 3, key);
                bulk_lock(out, locks, *lock);
                bulk(out, raw);
                bulk_milliseconds(out, ttl.unwrap_or_default());
            }
            Self::Insert { key, .. } if self.has_ended() => remove(out, key),
            Self::Insert { key, payload, stamp, ttl } => {
                array(out, 5);
                bulk(out, b"SET");
                bulk(out, key.as_bytes());
                bulk_value(out, payload, *stamp);
                bulk(out, b"PX");
                bulk_milliseconds(out, *ttl);
            }
            Self::Remove { key } => remove(out, key),
            // A TTL of zero deletes the value.
            Self::Touch { key, ttl } => {
                eval(out, Script::Touch, by_hash, 2, key);
                bulk(out, &locks.lock_prefix);
                bulk_milliseconds(out, *ttl);
            }
        }
    }

    /// Append a read whose first reply is the piece of the value in this range.
    pub(crate) fn encode_first_piece(
        &self,
        locks: &LockSettings,
        range: (usize, usize),
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Read { key, asks_ttl } => piece_and_ttl(out, (key, range), *asks_ttl),
            Self::ReadOrLock { key, lock, asks_ttl } => {
                piece_and_ttl(out, (key, range), *asks_ttl);
                take_lock(out, locks, key, *lock);
            }
            _ => debug_assert!(false, "`{}` has no pieces", self.name()),
        }
    }

    /// Append the command to `out` with `ASKING` before each of its frames: an importing node
    /// forgets an `ASKING` after one command.
    pub(crate) fn encode_asking(&self, locks: &LockSettings, by_hash: bool, out: &mut Vec<u8>) {
        match self {
            Self::Read { key, asks_ttl } => read_asking(out, key, *asks_ttl),
            Self::ReadRaw { key } => read_asking(out, key, true),
            Self::ReadOrLock { key, lock, asks_ttl } => {
                read_asking(out, key, *asks_ttl);
                asking(out);
                take_lock(out, locks, key, *lock);
            }
            Self::Lock { .. }
            | Self::Publish { .. }
            | Self::Release { .. }
            | Self::Renew { .. }
            | Self::WriteLock { .. }
            | Self::Replace { .. }
            | Self::Restore { .. }
            | Self::Insert { .. }
            | Self::Remove { .. }
            | Self::Touch { .. } => {
                asking(out);
                self.encode(locks, by_hash, out);
            }
        }
    }

    /// Append a batched command: its key to `keys`, its own frames or arguments to `rest`.
    pub(crate) fn encode_batched(
        &self,
        locks: &LockSettings,
        keys: &mut Vec<u8>,
        rest: &mut Vec<u8>,
    ) {
        bulk(keys, self.key().as_bytes());
        match self {
            Self::Read { asks_ttl: false, .. } => {}
            Self::Read { key, asks_ttl: true } => pttl(rest, key),
            Self::ReadOrLock { key, lock, asks_ttl } => {
                if *asks_ttl {
                    pttl(rest, key);
                }
                take_lock(rest, locks, key, *lock);
            }
            Self::Publish { lock, payload, compute_time, ttl, .. } => {
                bulk_lock(rest, locks, *lock);
                bulk_value(rest, payload, *compute_time);
                bulk_milliseconds(rest, *ttl);
            }
            _ => debug_assert!(false, "`{}` cannot be batched", self.name()),
        }
    }
}

fn read(out: &mut Vec<u8>, key: &Key, asks_ttl: bool) {
    get(out, key);
    if asks_ttl {
        pttl(out, key);
    }
}

fn piece_and_ttl(out: &mut Vec<u8>, (key, range): (&Key, (usize, usize)), asks_ttl: bool) {
    piece(out, key, range);
    if asks_ttl {
        pttl(out, key);
    }
}

/// Append a request for the bytes of a value in this range.
pub(crate) fn piece(out: &mut Vec<u8>, key: &Key, (first, last): (usize, usize)) {
    out.extend_from_slice(b"*4\r\n$8\r\nGETRANGE\r\n");
    bulk(out, key.as_bytes());
    for bound in [first, last] {
        bulk_header(out, decimal_digits(bound as u64));
        push_decimal(out, bound as u64);
        out.extend_from_slice(b"\r\n");
    }
}

fn read_asking(out: &mut Vec<u8>, key: &Key, asks_ttl: bool) {
    asking(out);
    get(out, key);
    if asks_ttl {
        asking(out);
        pttl(out, key);
    }
}

pub(crate) fn asking(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n");
}

/// Append the command after which the server does not track the next.
pub(crate) fn untrack_next(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$2\r\nNO\r\n");
}

fn get(out: &mut Vec<u8>, key: &Key) {
    out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
    bulk(out, key.as_bytes());
}

fn pttl(out: &mut Vec<u8>, key: &Key) {
    out.extend_from_slice(b"*2\r\n$4\r\nPTTL\r\n");
    bulk(out, key.as_bytes());
}

fn take_lock(out: &mut Vec<u8>, locks: &LockSettings, key: &Key, lock: LockId) {
    let is_greedy = mutant!(LockOverAnything);
    out.extend_from_slice(if is_greedy { b"*5\r\n" } else { b"*6\r\n" });
    out.extend_from_slice(b"$3\r\nSET\r\n");
    bulk(out, key.as_bytes());
    bulk_lock(out, locks, lock);
    if !is_greedy {
        out.extend_from_slice(b"$2\r\nNX\r\n");
    }
    out.extend_from_slice(b"$2\r\nPX\r\n");
    bulk_milliseconds(out, if mutant!(LockForEver) { Duration::MAX } else { locks.lock_ttl });
}

/// Append the script that deletes a key if it holds the given content.
fn release(out: &mut Vec<u8>, by_hash: bool, key: &Key, append_held: impl FnOnce(&mut Vec<u8>)) {
    eval(out, Script::Release, by_hash, 1, key);
    append_held(out);
}

fn remove(out: &mut Vec<u8>, key: &Key) {
    array(out, 2);
    bulk(out, b"DEL");
    bulk(out, key.as_bytes());
}

fn eval(out: &mut Vec<u8>, script: Script, by_hash: bool, arguments: usize, key: &Key) {
    begin_script(out, script, by_hash, 1, arguments);
    bulk(out, key.as_bytes());
}

/// Append the head of a batch of reads, up to the first key.
pub(crate) fn begin_reads(out: &mut Vec<u8>, keys: usize) {
    if keys == 1 {
        return out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
    }
    array(out, 1 + keys);
    out.extend_from_slice(b"$4\r\nMGET\r\n");
}

/// Append the head of a script call, up to the first key.
pub(crate) fn begin_script(
    out: &mut Vec<u8>,
    script: Script,
    by_hash: bool,
    keys: usize,
    arguments: usize,
) {
    array(out, 3 + keys + arguments);
    if by_hash {
        bulk(out, b"EVALSHA");
        bulk(out, script.sha1().as_bytes());
    } else {
        bulk(out, b"EVAL");
        bulk(out, script.source().as_bytes());
    }
    bulk_header(out, decimal_digits(keys as u64));
    push_decimal(out, keys as u64);
    out.extend_from_slice(b"\r\n");
}

fn array(out: &mut Vec<u8>, elements: usize) {
    out.push(b'*');
    push_decimal(out, elements as u64);
    out.extend_from_slice(b"\r\n");
}

fn bulk_header(out: &mut Vec<u8>, length: usize) {
    // A digit fits a byte.
    let digit = |number: usize| b'0' + (number % 10) as u8;
    match length {
        0..10 => out.extend_from_slice(&[b'$', digit(length), b'\r', b'\n']),
        10..100 => {
            let header = [b'$', digit(length / 10), digit(length), b'\r', b'\n'];
            out.extend_from_slice(&header);
        }
        100.. => {
            out.push(b'$');
            push_decimal(out, length as u64);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    bulk_header(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn bulk_lock(out: &mut Vec<u8>, locks: &LockSettings, lock: LockId) {
    bulk_header(out, locks.lock_base.len() + lock.digits());
    lock.write(&locks.lock_base, out);
    out.extend_from_slice(b"\r\n");
}

/// Append a value in its envelope. A large payload is copied once.
fn bulk_value(out: &mut Vec<u8>, payload: &[u8], compute_time: Duration) {
    let nanoseconds = i64::try_from(compute_time.as_nanos()).unwrap_or(i64::MAX).unsigned_abs();
    let length = ENVELOPE_PREFIX.len() + decimal_digits(nanoseconds) + 1 + payload.len();
    bulk_header(out, length);
    write_envelope(out, payload, compute_time);
    out.extend_from_slice(b"\r\n");
}

fn bulk_milliseconds(out: &mut Vec<u8>, duration: Duration) {
    let ms = milliseconds(duration);
    bulk_header(out, decimal_digits(ms));
    push_decimal(out, ms);
    out.extend_from_slice(b"\r\n");
}

/// Return whole milliseconds, truncated, within the range of `PX`.
fn milliseconds(duration: Duration) -> u64 {
    // Redis adds the TTL to its clock in a signed 64-bit number.
    const MS_MAX: u128 = 1 << 62;
    // The minimum with MS_MAX fits 64 bits.
    duration.as_millis().min(MS_MAX) as u64
}
