//! The commands of the cache protocol.

use std::time::Duration;

use bytes::Bytes;

use crate::api::key::Key;
use crate::protocol::lock::LockId;
use crate::protocol::script::Script;

/// Names the sender of a command. Layers below the engine return it with the reply and never
/// interpret it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) sender: u64,
    pub(crate) slot: u32,
}

/// One step of the protocol on one key. The Redis commands of one step travel as one pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `GET`, and `PTTL` if it `asks_ttl`: read the key under tracking.
    Read { key: Key, asks_ttl: bool },
    /// `GET`, `PTTL`: read the exact bytes, envelope included.
    ReadRaw { key: Key },
    /// `GET`, `PTTL` if it `asks_ttl`, `SET NX PX`: read, and take the lock if the key is absent.
    /// Without `PTTL`, `SET NX GET PX` does both.
    ReadOrLock { key: Key, lock: LockId, asks_ttl: bool },
    /// `SET NX PX`: take the lock if the key is absent.
    Lock { key: Key, lock: LockId },
    /// Replace our lock with a value and read it back.
    Publish { key: Key, lock: LockId, payload: Bytes, compute_time: Duration, ttl: Duration },
    /// Replace an old value, compared byte by byte, with a new one and read it back.
    Replace { key: Key, expected: Bytes, payload: Bytes, compute_time: Duration, ttl: Duration },
    /// Delete our lock.
    Release { key: Key, lock: LockId },
    /// Set the TTL of our lock.
    Renew { key: Key, lock: LockId },
    /// Replace a value with our lock. The reply contains the value.
    WriteLock { key: Key, lock: LockId },
    /// Replace our lock with the exact bytes that it had replaced. Without a TTL they never expire.
    Restore { key: Key, lock: LockId, raw: Bytes, ttl: Option<Duration> },
    /// `SET PX`, unconditionally.
    Insert { key: Key, payload: Bytes, stamp: Duration, ttl: Duration },
    /// `DEL`.
    Remove { key: Key },
    /// Set the TTL of a value, but not of a lock.
    Touch { key: Key, ttl: Duration },
}

/// The kinds of commands that neighbours in a pipeline may be batched into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batchable {
    /// The first `GET` of each read, as one `MGET`.
    Reads,
    /// The publications, as one call of their script.
    Publications,
}

/// The longest payload that is batched. A longer one is encoded straight into the output.
const BATCHED_PAYLOAD_MAX: usize = 16 << 10;

/// The shortest TTL that Redis can set.
const TTL_MIN: Duration = Duration::from_millis(1);

impl Command {
    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Read { key, .. }
            | Self::ReadRaw { key }
            | Self::ReadOrLock { key, .. }
            | Self::Lock { key, .. }
            | Self::Publish { key, .. }
            | Self::Replace { key, .. }
            | Self::Release { key, .. }
            | Self::Renew { key, .. }
            | Self::WriteLock { key, .. }
            | Self::Restore { key, .. }
            | Self::Insert { key, .. }
            | Self::Remove { key }
            | Self::Touch { key, .. } => key,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::ReadRaw { .. } => "read raw",
            Self::ReadOrLock { .. } => "read or lock",
            Self::Lock { .. } => "lock",
            Self::Publish { .. } => "publish",
            Self::Replace { .. } => "replace",
            Self::Release { .. } => "release",
            Self::Renew { .. } => "renew",
            Self::WriteLock { .. } => "write lock",
            Self::Restore { .. } => "restore",
            Self::Insert { .. } => "insert",
            Self::Remove { .. } => "remove",
            Self::Touch { .. } => "touch",
        }
    }

    /// Return the length of the value that the command writes.
    pub(crate) fn written_len(&self) -> Option<usize> {
        match self {
            Self::Publish { payload, .. }
            | Self::Replace { payload, .. }
            | Self::Insert { payload, .. } => Some(payload.len()),
            Self::Restore { raw, .. } => Some(raw.len()),
            Self::Read { .. }
            | Self::ReadRaw { .. }
            | Self::ReadOrLock { .. }
            | Self::Lock { .. }
            | Self::Release { .. }
            | Self::Renew { .. }
            | Self::WriteLock { .. }
            | Self::Remove { .. }
            | Self::Touch { .. } => None,
        }
    }

    /// Return the script that the command needs on servers without a native command for it.
    pub(crate) fn script(&self) -> Option<Script> {
        match self {
            Self::Publish { .. } | Self::Replace { .. } | Self::Restore { .. }
                if self.has_ended() =>
            {
                Some(Script::Release)
            }
            Self::Publish { .. } => Some(Script::Publish),
            Self::Replace { .. } => Some(Script::Replace),
            Self::Release { .. } => Some(Script::Release),
            Self::Renew { .. } => Some(Script::Renew),
            Self::WriteLock { .. } => Some(Script::WriteLock),
            Self::Restore { .. } => Some(Script::Restore),
            Self::Touch { .. } => Some(Script::Touch),
            Self::Read { .. }
            | Self::ReadRaw { .. }
            | Self::ReadOrLock { .. }
            | Self::Lock { .. }
            | Self::Insert { .. }
            | Self::Remove { .. } => None,
        }
    }

    /// Return whether the command replaces or removes any value of the key.
    pub(crate) fn replaces(&self) -> bool {
        match self {
            Self::Insert { .. } | Self::Remove { .. } => true,
            Self::Read { .. }
            | Self::ReadRaw { .. }
            | Self::ReadOrLock { .. }
            | Self::Lock { .. }
            | Self::Publish { .. }
            | Self::Replace { .. }
            | Self::Release { .. }
            | Self::Renew { .. }
            | Self::WriteLock { .. }
            | Self::Restore { .. }
            | Self::Touch { .. } => false,
        }
    }

    /// Return whether the command may be executed twice: it only reads, or it compares with a lock
    /// of this process.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::ReadRaw { .. }
            | Self::ReadOrLock { .. }
            | Self::Lock { .. }
            | Self::Publish { .. }
            | Self::Release { .. }
            | Self::Renew { .. }
            | Self::WriteLock { .. }
            | Self::Restore { .. } => true,
            // The old value may have been written again.
            Self::Replace { .. } => false,
            Self::Insert { .. } | Self::Remove { .. } | Self::Touch { .. } => false,
        }
    }

    /// Return the kind of batch that the command may share with its neighbours.
    pub(crate) fn batchable(&self) -> Option<Batchable> {
        match self {
            Self::Read { .. } | Self::ReadOrLock { .. } => Some(Batchable::Reads),
            Self::Publish { payload, .. }
                if payload.len() <= BATCHED_PAYLOAD_MAX && !self.has_ended() =>
            {
                Some(Batchable::Publications)
            }
            Self::Publish { .. }
            | Self::ReadRaw { .. }
            | Self::Lock { .. }
            | Self::Replace { .. }
            | Self::Release { .. }
            | Self::Renew { .. }
            | Self::WriteLock { .. }
            | Self::Restore { .. }
            | Self::Insert { .. }
            | Self::Remove { .. }
            | Self::Touch { .. } => None,
        }
    }

    /// Return whether a server that tracks the key sends an invalidation because of this command.
    pub(crate) fn is_echoed(&self) -> bool {
        !matches!(self, Self::Publish { .. }) || self.has_ended()
    }

    /// Return whether the command releases a lock.
    pub(crate) fn releases_lock(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::Restore { .. })
    }

    /// Have a read ask for the TTL.
    pub(crate) fn ask_ttl(&mut self) {
        if let Self::Read { asks_ttl, .. } | Self::ReadOrLock { asks_ttl, .. } = self {
            *asks_ttl = true;
        }
    }

    /// Count the time in a queue towards the TTL that the command writes, which begins when the
    /// command is issued.
    pub(crate) fn on_waited(&mut self, span: Duration) {
        let (Self::Publish { ttl, .. }
        | Self::Replace { ttl, .. }
        | Self::Restore { ttl: Some(ttl), .. }
        | Self::Insert { ttl, .. }
        | Self::Touch { ttl, .. }) = self
        else {
            return;
        };
        if mutant!(WaitExtendsTtl) {
            return;
        }
        let least = if mutant!(EndedValueWritten) { TTL_MIN } else { Duration::ZERO };
        *ttl = ttl.saturating_sub(span).max(least);
    }

    /// Return whether the TTL has ended before the command was sent. Such a command deletes the
    /// content that it would have replaced or kept.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::Publish { ttl, .. }
            | Self::Replace { ttl, .. }
            | Self::Restore { ttl: Some(ttl), .. }
            | Self::Insert { ttl, .. }
            | Self::Touch { ttl, .. } => *ttl < TTL_MIN,
            Self::Restore { ttl: None, .. }
            | Self::Read { .. }
            | Self::ReadRaw { .. }
            | Self::ReadOrLock { .. }
            | Self::Lock { .. }
            | Self::Release { .. }
            | Self::Renew { .. }
            | Self::WriteLock { .. }
            | Self::Remove { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::lock::{LockSettings, Locks};

    fn check(command: &Command, by_hash: bool, expected: &[&[&[u8]]]) {
        let locks = LockSettings {
            lock_prefix: b"lock:".to_vec(),
            lock_base: b"lock:me:".to_vec(),
            lock_ttl: Duration::from_secs(10),
        };
        let mut out = Vec::new();
        command.encode(&locks, by_hash, &mut out);
        let mut want = Vec::new();
        for arguments in expected {
            crate::resp::command(&mut want, arguments);
        }
        assert_eq!(out.escape_ascii().to_string(), want.escape_ascii().to_string());
    }

    fn lock() -> LockId {
        Locks::new(b"lock:", 0, &[0; 10]).issue()
    }

    #[test]
    fn a_read_travels_as_one_pipeline_with_the_lock_attempt() {
        let key = Key::from("k");
        let get: &[&[u8]] = &[b"GET", b"k"];
        let pttl: &[&[u8]] = &[b"PTTL", b"k"];
        let set: &[&[u8]] = &[b"SET", b"k", b"lock:me:1", b"NX", b"PX", b"10000"];
        for (asks_ttl, frames) in [(true, &[get, pttl, set][..]), (false, &[get, set])] {
            let read = Command::Read { key: key.clone(), asks_ttl };
            check(&read, true, &frames[..frames.len() - 1]);
            check(&Command::ReadOrLock { key: key.clone(), lock: lock(), asks_ttl }, true, frames);
        }
        check(&Command::Lock { key, lock: lock() }, true, &[set]);
    }

    #[test]
    fn asking_precedes_every_frame() {
        let key = Key::from("k");
        let locks = LockSettings {
            lock_prefix: b"lock:".to_vec(),
            lock_base: b"lock:me:".to_vec(),
            lock_ttl: Duration::from_secs(10),
        };
        for (command, frames) in [
            (Command::Read { key: key.clone(), asks_ttl: true }, 2),
            (Command::Read { key: key.clone(), asks_ttl: false }, 1),
            (Command::ReadOrLock { key: key.clone(), lock: lock(), asks_ttl: true }, 3),
            (Command::Release { key: key.clone(), lock: lock() }, 1),
            (Command::Remove { key }, 1),
        ] {
            let (mut plain, mut asked) = (Vec::new(), Vec::new());
            command.encode(&locks, true, &mut plain);
            command.encode_asking(&locks, true, &mut asked);
            let asked = String::from_utf8(asked).unwrap();
            let parts: Vec<_> = asked.split("*1\r\n$6\r\nASKING\r\n").collect();
            assert_eq!((parts[0], parts.len() - 1), ("", frames), "{}", command.name());
            assert_eq!(parts.concat(), String::from_utf8(plain).unwrap());
            assert!(parts[1..].iter().all(|frame| frame.matches('*').count() == 1), "{asked:?}");
        }
    }

    #[test]
    fn scripts_are_sent_by_hash_or_with_their_source() {
        let key = Key::from("k");
        let publish = Command::Publish {
            key: key.clone(),
            lock: lock(),
            payload: Bytes::from_static(b"v"),
            compute_time: Duration::from_nanos(12),
            ttl: Duration::from_micros(1_999),
        };
        let sha = Script::Publish.sha1().as_bytes();
        let value: &[u8] = b"__redcache:v1:12:v";
        check(&publish, true, &[&[b"EVALSHA", sha, b"1", b"k", b"lock:me:1", value, b"1"]]);
        let source = Script::Touch.source().as_bytes();
        let touch = Command::Touch { key, ttl: Duration::from_secs(1) };
        check(&touch, false, &[&[b"EVAL", source, b"1", b"k", b"lock:", b"1000"]]);
    }

    #[test]
    fn a_write_lock_carries_the_lock_prefix_and_a_restore_the_old_value() {
        let key = Key::from("k");
        let sha = Script::WriteLock.sha1().as_bytes();
        let words: &[&[u8]] = &[b"EVALSHA", sha, b"1", b"k", b"lock:me:1", b"10000", b"lock:"];
        check(&Command::WriteLock { key: key.clone(), lock: lock() }, true, &[words]);
        let sha = Script::Restore.sha1().as_bytes();
        for (ttl, ms) in [(None, &b"0"[..]), (Some(Duration::from_millis(7)), b"7")] {
            let raw = Bytes::from_static(b"\0\r\n");
            let restore = Command::Restore { key: key.clone(), lock: lock(), raw, ttl };
            let words: &[&[u8]] = &[b"EVALSHA", sha, b"1", b"k", b"lock:me:1", b"\0\r\n", ms];
            check(&restore, true, &[words]);
        }
    }

    /// Return every command that writes a TTL, each with this one.
    fn with_ttl(ttl: Duration) -> [Command; 5] {
        let (lock, compute_time) = (lock(), Duration::ZERO);
        let (payload, raw) = (Bytes::from_static(b"new"), Bytes::from_static(b"old"));
        let (new, expected, key) = (payload.clone(), raw.clone(), || Key::from("k"));
        [
            Command::Publish { key: key(), lock, payload: new.clone(), compute_time, ttl },
            Command::Restore { key: key(), lock, raw, ttl: Some(ttl) },
            Command::Replace { key: key(), expected, payload: new, compute_time, ttl },
            Command::Insert { key: key(), payload, stamp: compute_time, ttl },
            Command::Touch { key: key(), ttl },
        ]
    }

    #[test]
    fn a_delayed_command_writes_the_rest_of_its_ttl() {
        let ms = Duration::from_millis;
        for (mut command, left) in with_ttl(ms(7)).into_iter().zip(with_ttl(ms(4))) {
            command.on_waited(ms(2));
            command.on_waited(ms(1));
            assert_eq!(command, left);
            assert!(!command.has_ended());
        }
        let raw = Bytes::from_static(b"old");
        let mut endless = Command::Restore { key: Key::from("k"), lock: lock(), raw, ttl: None };
        endless.on_waited(ms(3));
        assert!(matches!(endless, Command::Restore { ttl: None, .. }) && !endless.has_ended());
    }

    #[test]
    fn a_command_deletes_what_it_would_replace_after_its_ttl() {
        let sha = Script::Release.sha1().as_bytes();
        let release: &[&[u8]] = &[b"EVALSHA", sha, b"1", b"k", b"lock:me:1"];
        let discard: &[&[u8]] = &[b"EVALSHA", sha, b"1", b"k", b"old"];
        let delete: &[&[u8]] = &[b"DEL", b"k"];
        let sha = Script::Touch.sha1().as_bytes();
        let expire: &[&[u8]] = &[b"EVALSHA", sha, b"1", b"k", b"lock:", b"0"];
        let ms = Duration::from_millis;
        let expected = [release, release, discard, delete, expire];
        for waited in [ms(3), ms(4), Duration::from_micros(2_500)] {
            for (mut command, words) in with_ttl(ms(3)).into_iter().zip(expected) {
                command.on_waited(waited);
                assert!(command.has_ended() && command.batchable().is_none());
                check(&command, true, &[words]);
            }
        }
    }

    #[test]
    fn writes_are_encoded_as_the_contract_says() {
        let key = Key::from("");
        let insert = Command::Insert {
            key: key.clone(),
            payload: Bytes::new(),
            stamp: Duration::from_nanos(7),
            ttl: Duration::from_millis(5),
        };
        check(&insert, true, &[&[b"SET", b"", b"__redcache:v1:7:", b"PX", b"5"]]);
        check(&Command::Remove { key }, true, &[&[b"DEL", b""]]);
    }
}
