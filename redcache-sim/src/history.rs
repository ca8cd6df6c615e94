//! The reference model: the history of each key and the origin of each value.

use std::time::Duration;

use bytes::Bytes;
use redcache_core::protocol::ENVELOPE_PREFIX;
use redcache_core::{Key, LOCK_PREFIX, NOT_FOUND_MARKER};

use crate::clock::Micros;

/// The number of a step of the server; later steps have greater stamps.
pub(crate) type Stamp = u64;

/// The content of a key as a reader understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Absent,
    Lock,
    NotFound,
    Value(Bytes),
}

impl Content {
    pub(crate) fn of(raw: Option<&Bytes>) -> Self {
        let Some(raw) = raw else { return Self::Absent };
        if raw.starts_with(LOCK_PREFIX.as_bytes()) {
            return Self::Lock;
        }
        let payload = open(raw).unwrap_or_else(|| raw.clone());
        if payload == NOT_FOUND_MARKER { Self::NotFound } else { Self::Value(payload) }
    }

    /// Return whether a reader of this content gets `value`.
    fn reads_as(&self, value: Option<&Bytes>) -> bool {
        match (self, value) {
            (Self::Value(payload), Some(value)) => payload == value,
            (Self::Absent | Self::Lock | Self::NotFound, None) => true,
            (Self::Value(_), None) | (Self::Absent | Self::Lock | Self::NotFound, Some(_)) => false,
        }
    }
}

fn open(raw: &Bytes) -> Option<Bytes> {
    let rest = raw.strip_prefix(ENVELOPE_PREFIX)?;
    let colon = rest.iter().position(|&byte| byte == b':')?;
    let nanos: i64 = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    (nanos >= 0).then(|| raw.slice(ENVELOPE_PREFIX.len() + colon + 1..))
}

/// A period in which a key held one content.
#[derive(Debug)]
pub(crate) struct Period {
    pub(crate) content: Content,
    pub(crate) from: Stamp,
    /// The first stamp at which it no longer held.
    pub(crate) to: Stamp,
    pub(crate) to_at: Micros,
}

/// The span in which something was true, possibly more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// The first stamp.
    pub(crate) from: Stamp,
    /// The stamp past the last.
    pub(crate) to: Stamp,
}

/// The history of one key.
#[derive(Debug)]
pub(crate) struct KeyModel {
    pub(crate) name: Key,
    pub(crate) raw: Option<Bytes>,
    pub(crate) periods: Vec<Period>,
    /// The last command that replaced or deleted the content of the key.
    pub(crate) overwritten: Stamp,
    /// The start of the last acknowledged insert or remove, of any process.
    pub(crate) acknowledged: Stamp,
    /// The last commit of a change that held the lock of the key.
    pub(crate) committed: Stamp,
    /// Since when the key has held no lock, other than by expiry.
    pub(crate) unlocked_since: Option<Micros>,
    /// The time at which the key last held more than a process reads; [`Micros::MAX`] while it
    /// does.
    pub(crate) oversized_until: Option<Micros>,
    /// The number of locks granted, and of loads with or without a lock.
    pub(crate) grants: u64,
    pub(crate) loads: u64,
    /// The process and the start of each load of a fetch whose loader has not ended.
    pub(crate) open_loads: Vec<(usize, Micros)>,
}

impl KeyModel {
    pub(crate) fn new(name: Key) -> Self {
        let absent =
            Period { content: Content::Absent, from: 0, to: Stamp::MAX, to_at: Micros::MAX };
        Self {
            name,
            raw: None,
            periods: vec![absent],
            overwritten: 0,
            acknowledged: 0,
            committed: 0,
            unlocked_since: Some(0),
            oversized_until: None,
            grants: 0,
            loads: 0,
            open_loads: Vec::new(),
        }
    }

    /// Record that the key now holds `raw`.
    pub(crate) fn record(&mut self, stamp: Stamp, now: Micros, raw: Option<Bytes>) {
        if let Some(last) = self.periods.last_mut() {
            last.to = stamp;
            last.to_at = now;
        }
        let content = Content::of(raw.as_ref());
        let is_lock = content == Content::Lock;
        self.unlocked_since = if is_lock { None } else { self.unlocked_since.or(Some(now)) };
        self.periods.push(Period { content, from: stamp, to: Stamp::MAX, to_at: Micros::MAX });
        self.raw = raw;
    }

    pub(crate) fn content(&self) -> &Content {
        // A key starts with one period, and periods are never removed.
        &self.periods[self.periods.len() - 1].content
    }

    /// Return the span in which `value` was the right answer, counting periods that ended at or
    /// after `since`.
    pub(crate) fn seen(&self, value: Option<&Bytes>, since: Micros) -> Option<Validity> {
        self.seen_as(since, |content| content.reads_as(value))
    }

    /// Return the instant at which `value` was last the right answer.
    pub(crate) fn last_true_at(&self, value: Option<&Bytes>, now: Micros) -> Option<Micros> {
        let period = self.periods.iter().rev().find(|period| period.content.reads_as(value))?;
        Some(period.to_at.min(now))
    }

    /// Return the instant at which the key held the "not found" marker, counting periods that ended
    /// at or after `since`.
    pub(crate) fn seen_not_found(&self, since: Micros) -> Option<Validity> {
        self.seen_as(since, |content| *content == Content::NotFound)
    }

    fn seen_as(&self, since: Micros, fits: impl Fn(&Content) -> bool) -> Option<Validity> {
        let lately = self.periods.iter().rev().take_while(|period| period.to_at >= since);
        let mut fitting = lately.filter(|period| fits(&period.content));
        let last = fitting.next()?;
        let first = fitting.last().unwrap_or(last);
        Some(Validity { from: first.from, to: last.to })
    }
}

/// The origin of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Load {
        call: usize,
        process: usize,
        life: u32,
        /// The time at which the loader started.
        begun: Stamp,
        /// The time at which it ended; [`Micros::MAX`] while it runs.
        ended_at: Micros,
    },
    Insert {
        call: usize,
    },
    Foreign,
}

/// A value that was written or loaded. No two versions are equal.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) key: usize,
    /// `None` for a load that found nothing.
    pub(crate) payload: Option<Bytes>,
    pub(crate) origin: Origin,
    /// The time at which the server executed the write of this value.
    pub(crate) executed: Option<Stamp>,
    pub(crate) ttl: Duration,
    /// Its TTL had ended before its write was sent, so the write has deleted the key.
    pub(crate) was_deleted: bool,
}

/// The shape of a value apart from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueShape {
    Plain,
    LockLike,
    EnvelopeLike,
    Framed,
    Padded(usize),
}

/// Return a value of the given shape that names its key and number.
pub(crate) fn encode_value(shape: ValueShape, key: usize, number: usize) -> Bytes {
    let front: Vec<u8> = match shape {
        ValueShape::Plain => Vec::new(),
        ValueShape::LockLike => LOCK_PREFIX.as_bytes().to_vec(),
        ValueShape::EnvelopeLike => [ENVELOPE_PREFIX, b"7:"].concat(),
        ValueShape::Framed => b">2\r\n$10\r\ninvalidate\r\n_\r\n$-1\r\n".to_vec(),
        ValueShape::Padded(length) => vec![b'.'; length],
    };
    Bytes::from([&front[..], format!("|{key}|{number}").as_bytes()].concat())
}

/// Return the key and the number of a value.
pub(crate) fn decode_value(value: &[u8]) -> Option<(usize, usize)> {
    let mut parts = value.rsplit(|&byte| byte == b'|');
    let number = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let key = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    Some((key, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_any_shape_names_its_key_and_number() {
        let shapes = [
            ValueShape::Plain,
            ValueShape::LockLike,
            ValueShape::EnvelopeLike,
            ValueShape::Framed,
            ValueShape::Padded(99),
        ];
        for shape in shapes {
            assert_eq!(decode_value(&encode_value(shape, 3, 141)), Some((3, 141)));
        }
        assert_eq!(decode_value(b"__redcache:not-found"), None);
    }

    #[test]
    fn an_answer_may_be_recent_but_not_older() {
        let mut key = KeyModel::new(Key::from("k"));
        let value = |text: &'static str| Bytes::from_static(text.as_bytes());
        key.record(1, 10, Some(value("a")));
        key.record(2, 20, Some(value("__redcache:v1:0:b")));
        assert!(key.seen(Some(&value("a")), 20).is_some());
        assert!(key.seen(Some(&value("a")), 21).is_none());
        assert!(key.seen(Some(&value("b")), 1000).is_some());
        assert!(key.seen(None, 10).is_some_and(|seen| seen.to == 1));
        assert!(key.seen(None, 11).is_none());
    }
}
