//! The locks of this process: prefix + one UUIDv7 per process + `:` + counter, unique for each
//! acquisition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use uuid::{Builder, Uuid};

use crate::protocol::envelope::{decimal_digits, push_decimal};

/// One acquisition of a lock by this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LockId(u64);

/// The lock settings that every command of one cache shares.
#[derive(Debug)]
pub(crate) struct LockSettings {
    pub(crate) lock_prefix: Vec<u8>,
    /// The first bytes of every lock of this process.
    pub(crate) lock_base: Vec<u8>,
    pub(crate) lock_ttl: Duration,
}

/// Issues locks and recognises them.
#[derive(Debug)]
pub(crate) struct Locks {
    /// Prefix + UUID + `:`, the first bytes of each lock.
    base: Vec<u8>,
    issued: u64,
    /// Locks that writes hold or have requested.
    live: BTreeSet<LockId>,
    /// Locks whose old value is to be restored, each with the time at which it expires. Either the
    /// restore or the reply with the old value is in flight.
    restored: BTreeMap<LockId, Instant>,
    /// The same locks in the order of that time.
    expiries: BTreeSet<(Instant, LockId)>,
}

impl Locks {
    /// Create the locks of a process. `random` must be unpredictable, and different in each process
    /// and in each copy of a virtual machine.
    pub(crate) fn new(prefix: &[u8], unix_ms: u64, random: &[u8; 10]) -> Self {
        let process = Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid();
        let mut base = prefix.to_vec();
        let mut text = Uuid::encode_buffer();
        base.extend_from_slice(process.as_hyphenated().encode_lower(&mut text).as_bytes());
        base.push(b':');
        Self {
            base,
            issued: 0,
            live: BTreeSet::new(),
            restored: BTreeMap::new(),
            expiries: BTreeSet::new(),
        }
    }

    pub(crate) fn issue(&mut self) -> LockId {
        if mutant!(LockReused) {
            return LockId(1);
        }
        self.issued += 1;
        LockId(self.issued)
    }

    pub(crate) fn base(&self) -> &[u8] {
        &self.base
    }

    /// Record that a write holds this lock or has requested it.
    pub(crate) fn keep(&mut self, lock: LockId) {
        self.live.insert(lock);
    }

    /// Record that the write no longer needs its lock.
    pub(crate) fn retire(&mut self, lock: LockId) {
        self.live.remove(&lock);
    }

    /// Record that the old value is to replace the lock, which expires by `until`.
    pub(crate) fn await_restore(&mut self, now: Instant, lock: LockId, until: Instant) {
        while let Some(&(expiry, expired)) = self.expiries.first()
            && expiry <= now
        {
            self.expiries.pop_first();
            self.restored.remove(&expired);
        }
        self.forget_restore(lock);
        self.restored.insert(lock, until);
        self.expiries.insert((until, lock));
    }

    /// Record that the old value of the lock is lost.
    pub(crate) fn forget_restore(&mut self, lock: LockId) {
        if let Some(until) = self.restored.remove(&lock) {
            self.expiries.remove(&(until, lock));
        }
    }

    /// Return whether a write of this process holds the lock, or its old value is to be restored. A
    /// lock that is not live may be released.
    pub(crate) fn is_live(&self, lock: LockId, now: Instant) -> bool {
        self.live.contains(&lock) || self.restored.get(&lock).is_some_and(|until| now < *until)
    }

    /// Return the acquisition of this process that wrote `raw`.
    pub(crate) fn recognise(&self, raw: &[u8]) -> Option<LockId> {
        let digits = raw.strip_prefix(self.base.as_slice())?;
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(LockId(number))
    }
}

impl LockId {
    /// Append the lock's bytes to `out`; `base` is that of the [`Locks`] which issued it.
    pub(crate) fn write(self, base: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(base);
        push_decimal(out, self.0);
    }

    /// Return the number of bytes that [`write`](Self::write) appends to the base.
    pub(crate) fn digits(self) -> usize {
        decimal_digits(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_whose_old_value_is_to_come_back_is_live_until_it_expires() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut locks = Locks::new(b"lock:", 0, &[1; 10]);
        let [first, second] = [locks.issue(), locks.issue()];
        locks.await_restore(now, first, after(10));
        assert!(locks.is_live(first, after(9)) && !locks.is_live(first, after(10)));
        assert!(!locks.is_live(second, now));
        locks.await_restore(after(10), second, after(20));
        assert_eq!((locks.restored.len(), locks.expiries.len()), (1, 1));
        locks.forget_restore(second);
        assert!(!locks.is_live(second, after(10)) && locks.expiries.is_empty());
    }

    #[test]
    fn a_lock_is_recognised_by_its_own_process_only() {
        let mut ours = Locks::new(b"lock:", 1_700_000_000_000, &[1; 10]);
        let theirs = Locks::new(b"lock:", 1_700_000_000_000, &[2; 10]);
        ours.issue();
        let id = ours.issue();
        let mut raw = Vec::new();
        id.write(ours.base(), &mut raw);
        assert_eq!(ours.recognise(&raw), Some(id));
        assert_eq!(theirs.recognise(&raw), None);
        let text = String::from_utf8(raw).unwrap();
        let (uuid, counter) = text.strip_prefix("lock:").unwrap().split_once(':').unwrap();
        assert_eq!(Uuid::parse_str(uuid).unwrap().get_version_num(), 7);
        assert_eq!(counter, "2");
    }
}
