//! The entries seen in the near cache of a process.

use bytes::Bytes;

use crate::clock::Micros;

/// The rounding of TTLs, by Redis and between clocks.
const SLACK: Micros = 2_000;

/// The entries of one key seen in a near cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct NearHistory {
    pub(crate) latest: Option<Copy>,
    /// Values in replies that have reached the process, whether or not they were ever a hit.
    pub(crate) read: Vec<ReadValue>,
    /// Entries that were invalidated, or overwritten by their own process, and have not been read
    /// again. They must not be used as stale values.
    pub(crate) ended: Vec<Ended>,
}

#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) value: Option<Bytes>,
    pub(crate) until: Micros,
    pub(crate) link: usize,
    /// The time at which the connection that would invalidate the value was lost.
    pub(crate) lost_at: Option<Micros>,
}

/// An entry that must no longer be used.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) value: Option<Bytes>,
    pub(crate) at: Micros,
    /// The time until which it would have been a hit.
    pub(crate) fresh_until: Micros,
}

/// A value in a reply, and the time for which the process may consider it current.
#[derive(Debug, Clone)]
pub(crate) struct ReadValue {
    pub(crate) value: Option<Bytes>,
    /// The time until which it is a hit, by its TTL or the limit of the near cache.
    pub(crate) fresh_until: Micros,
    /// The time at which it expires in Redis, as far as the process can know.
    pub(crate) expires_at: Micros,
    /// The link of the reply.
    pub(crate) link: usize,
}

impl ReadValue {
    fn end(self, at: Micros) -> Ended {
        Ended { value: self.value, at, fresh_until: self.fresh_until }
    }
}

impl Copy {
    fn end(self, at: Micros) -> Ended {
        Ended { value: self.value, at, fresh_until: self.until.min(at) }
    }
}

impl NearHistory {
    /// Record that a value has reached the process.
    pub(crate) fn read(&mut self, read: ReadValue) {
        self.ended.retain(|ended| ended.value != read.value);
        self.read.retain(|known| known.value != read.value);
        self.read.push(read);
    }

    /// Record which link the process uses. Values read on a lost link end as hits with the link,
    /// and altogether once the next one is open.
    pub(crate) fn lose_reads(&mut self, now: Micros, link: Option<usize>, is_open: bool) {
        for read in self.read.iter_mut().filter(|read| Some(read.link) != link) {
            read.fresh_until = read.fresh_until.min(now);
        }
        if is_open {
            let lost = self.read.extract_if(.., |read| Some(read.link) != link);
            self.ended.extend(lost.map(|read| read.end(now)));
        }
    }

    /// Record an invalidation. Values that cannot have expired yet have changed.
    pub(crate) fn invalidate(&mut self, now: Micros) {
        let changed = self.read.extract_if(.., |read| now + SLACK < read.expires_at);
        self.ended.extend(changed.map(|read| read.end(now)));
    }

    pub(crate) fn see(&mut self, now: Micros, copy: Copy) {
        self.ended.retain(|ended| ended.value != copy.value);
        if let Some(before) = self.latest.replace(copy)
            && self.latest.as_ref().is_some_and(|copy| copy.value != before.value)
        {
            self.ended.push(before.end(now));
        }
    }

    /// Return whether an entry that is no longer a hit has ended early.
    pub(crate) fn has_ended_early(&self, now: Micros, copy: &Copy) -> bool {
        // A reply with a shorter TTL may have replaced the entry.
        let read = self.read.iter().find(|read| read.value == copy.value);
        let until = read.map_or(copy.until, |read| copy.until.min(read.fresh_until));
        now + SLACK < until
    }

    pub(crate) fn end(&mut self, now: Micros) {
        self.ended.extend(self.latest.take().map(|copy| copy.end(now)));
    }
}
