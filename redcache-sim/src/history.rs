//! The reference: what each key has held, and when, and where each value came from. From it follows what a reader may
//! be told.

use bytes::Bytes;
use redcache_core::{ENVELOPE_PREFIX, Key, LOCK_PREFIX, NOT_FOUND_MARKER};

use crate::clock::Micros;

/// Counts the steps of the server; a later one has a greater stamp.
pub(crate) type Stamp = u64;

/// What a key holds, as a reader is to understand it.
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

    /// Says whether a reader is told of this content by an answer with this value.
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

/// How long a key held one content.
#[derive(Debug)]
pub(crate) struct Period {
    pub(crate) content: Content,
    pub(crate) from: Stamp,
    /// Past the last stamp at which it held.
    pub(crate) to: Stamp,
    pub(crate) to_at: Micros,
}

/// When something was true that may have been so more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// When it was first.
    pub(crate) from: Stamp,
    /// When it was no longer, for the last time.
    pub(crate) to: Stamp,
}

/// What is known of one key.
#[derive(Debug)]
pub(crate) struct KeyModel {
    pub(crate) name: Key,
    pub(crate) raw: Option<Bytes>,
    pub(crate) periods: Vec<Period>,
    /// The last command that was to replace or delete whatever the key held.
    pub(crate) overwritten: Stamp,
    /// Since when, for a reason other than its expiry, the key has held no lock.
    pub(crate) unlocked_since: Option<Micros>,
    /// How many locks were granted, and how many loads ran with or without.
    pub(crate) grants: u64,
    pub(crate) loads: u64,
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
            unlocked_since: Some(0),
            grants: 0,
            loads: 0,
        }
    }

    /// Notes that the key now holds `raw`.
    pub(crate) fn turn(&mut self, stamp: Stamp, now: Micros, raw: Option<Bytes>) {
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
        // A key is made with a first era, and none is ever taken away.
        &self.periods[self.periods.len() - 1].content
    }

    /// When what a reader was told by `value` was true, as far as it was not over before `since`.
    pub(crate) fn seen(&self, value: Option<&Bytes>, since: Micros) -> Option<Validity> {
        self.seen_as(since, |content| content.reads_as(value))
    }

    /// When what a reader was told by `value` was true for the last time.
    pub(crate) fn last_true_at(&self, value: Option<&Bytes>, now: Micros) -> Option<Micros> {
        let period = self.periods.iter().rev().find(|period| period.content.reads_as(value))?;
        Some(period.to_at.min(now))
    }

    /// The same for a key that says that there is nothing.
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

/// Who made a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Load {
        call: usize,
        process: usize,
        life: u32,
        /// When the loader began.
        begun: Stamp,
        /// When it ended; [`Micros::MAX`] while it runs.
        ended_at: Micros,
    },
    Insert {
        call: usize,
    },
    Foreign,
}

/// One value that was ever made. No two are alike.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) key: usize,
    /// `None` for a load that found nothing.
    pub(crate) payload: Option<Bytes>,
    pub(crate) origin: Origin,
    /// When the server carried out the write that brings it, if it did.
    pub(crate) executed: Option<Stamp>,
}

/// How a value looks apart from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueShape {
    Plain,
    LockLike,
    EnvelopeLike,
    Framed,
    Padded(usize),
}

/// Spells a value so that it names its key and its number, whatever else it looks like.
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

/// Reads the key and the number out of a value.
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
    fn a_value_names_its_key_and_number_whatever_it_looks_like() {
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
    fn a_reader_may_be_told_what_held_lately_and_nothing_older() {
        let mut key = KeyModel::new(Key::from("k"));
        let value = |text: &'static str| Bytes::from_static(text.as_bytes());
        key.turn(1, 10, Some(value("a")));
        key.turn(2, 20, Some(value("__redcache:v1:0:b")));
        assert!(key.seen(Some(&value("a")), 20).is_some());
        assert!(key.seen(Some(&value("a")), 21).is_none());
        assert!(key.seen(Some(&value("b")), 1000).is_some());
        assert!(key.seen(None, 10).is_some_and(|seen| seen.to == 1));
        assert!(key.seen(None, 11).is_none());
    }
}
