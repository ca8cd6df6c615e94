//! Encodes commands as native commands of the server instead of scripts.

use super::{array, bulk, bulk_lock, bulk_milliseconds, bulk_value};
use crate::api::key::Key;
use crate::protocol::command::Command;
use crate::protocol::lock::{LockId, LockSettings};
use crate::protocol::native::Delete;

impl Command {
    /// Append a read with a lock attempt as one command. The server does not track its key.
    pub(crate) fn encode_set_get(&self, locks: &LockSettings, out: &mut Vec<u8>) {
        let Self::ReadOrLock { key, lock, .. } = self else {
            return debug_assert!(false, "`{}` is no read with a lock attempt", self.name());
        };
        array(out, 7);
        bulk(out, b"SET");
        bulk(out, key.as_bytes());
        bulk_lock(out, locks, *lock);
        bulk(out, b"NX");
        bulk(out, b"GET");
        bulk(out, b"PX");
        bulk_milliseconds(out, locks.lock_ttl);
    }

    /// Append a command that compares and writes as one command of the server. A publication is not
    /// read back, so the server does not track its key.
    pub(crate) fn encode_native(&self, locks: &LockSettings, delete: Delete, out: &mut Vec<u8>) {
        match self {
            Self::Publish { key, lock, .. } | Self::Restore { key, lock, .. }
                if self.has_ended() =>
            {
                delete_if_equal(delete, (key, *lock), locks, out);
            }
            Self::Publish { .. } => self.set_if_equal(locks, out),
            Self::Release { key, lock } => delete_if_equal(delete, (key, *lock), locks, out),
            Self::Renew { key, lock } => {
                array(out, 7);
                bulk(out, b"SET");
                bulk(out, key.as_bytes());
                bulk_lock(out, locks, *lock);
                bulk(out, b"IFEQ");
                bulk_lock(out, locks, *lock);
                bulk(out, b"PX");
                bulk_milliseconds(out, locks.lock_ttl);
            }
            Self::Restore { key, lock, raw, ttl } => {
                array(out, if ttl.is_some() { 7 } else { 5 });
                bulk(out, b"SET");
                bulk(out, key.as_bytes());
                bulk(out, raw);
                if let Some(ttl) = ttl {
                    bulk(out, b"PX");
                    bulk_milliseconds(out, *ttl);
                }
                bulk(out, b"IFEQ");
                bulk_lock(out, locks, *lock);
            }
            Self::Read { .. }
            | Self::ReadRaw { .. }
            | Self::ReadOrLock { .. }
            | Self::Lock { .. }
            | Self::Replace { .. }
            | Self::WriteLock { .. }
            | Self::Insert { .. }
            | Self::Remove { .. }
            | Self::Touch { .. } => {
                debug_assert!(false, "`{}` has no native form", self.name());
            }
        }
    }

    /// Append one publication as a transaction that reads the key back.
    pub(crate) fn encode_transaction(&self, locks: &LockSettings, out: &mut Vec<u8>) {
        begin_transaction(out);
        self.set_if_equal(locks, out);
        end_transaction(out, 1, |out| bulk(out, self.key().as_bytes()));
    }

    /// Append a publication of a transaction: its key to `keys`, its command to `rest`.
    pub(crate) fn encode_in_transaction(
        &self,
        locks: &LockSettings,
        keys: &mut Vec<u8>,
        rest: &mut Vec<u8>,
    ) {
        bulk(keys, self.key().as_bytes());
        self.set_if_equal(locks, rest);
    }

    /// Append the command that replaces our lock with a value.
    fn set_if_equal(&self, locks: &LockSettings, out: &mut Vec<u8>) {
        let Self::Publish { key, lock, payload, compute_time, ttl } = self else {
            return debug_assert!(false, "`{}` is no publication", self.name());
        };
        array(out, 7);
        bulk(out, b"SET");
        bulk(out, key.as_bytes());
        bulk_value(out, payload, *compute_time);
        bulk(out, b"IFEQ");
        bulk_lock(out, locks, *lock);
        bulk(out, b"PX");
        bulk_milliseconds(out, *ttl);
    }
}

/// Append the command that deletes our lock.
fn delete_if_equal(
    delete: Delete,
    (key, lock): (&Key, LockId),
    locks: &LockSettings,
    out: &mut Vec<u8>,
) {
    let words: &[&[u8]] = match delete {
        Delete::DelIfEq => &[b"DELIFEQ", key.as_bytes()],
        Delete::DelEx => &[b"DELEX", key.as_bytes(), b"IFEQ"],
    };
    array(out, words.len() + 1);
    words.iter().for_each(|word| bulk(out, word));
    bulk_lock(out, locks, lock);
}

/// Append the command that begins a transaction.
pub(crate) fn begin_transaction(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
}

/// Append the end of a transaction: a read of the keys that `append_keys` appends, so that the
/// server tracks them, and `EXEC`.
pub(crate) fn end_transaction(
    out: &mut Vec<u8>,
    keys: usize,
    append_keys: impl FnOnce(&mut Vec<u8>),
) {
    array(out, 1 + keys);
    bulk(out, b"EXISTS");
    append_keys(out);
    execute(out);
}

/// Append a transaction without commands, whose reply shows whether transactions are allowed.
pub(crate) fn probe_transactions(out: &mut Vec<u8>) {
    begin_transaction(out);
    execute(out);
}

fn execute(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
}
