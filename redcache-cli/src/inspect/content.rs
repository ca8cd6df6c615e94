//! The meaning of the bytes under a key.

use std::time::Duration;

use redcache_core::Config;
use redcache_core::protocol::open_envelope;

use crate::output::printable;

/// The content of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// The key does not exist.
    Missing,
    /// A process loads or writes the key.
    Lock(Lock),
    /// A cached "not found", with the run time of its loader.
    NotFound { compute_time: Option<Duration> },
    /// A value, with the length of its payload; the run time of its loader if it has an envelope.
    Value { length: u64, compute_time: Option<Duration> },
    /// The key is no string.
    Foreign,
}

/// A lock as its bytes describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    /// The UUID of the cache that holds it. redcache for Go has a UUID per lock.
    pub(super) holder: String,
    /// The number of the lock among all locks of its cache.
    pub(super) acquisition: Option<u64>,
    /// The time of the UUID since the Unix epoch.
    created_at: Option<Duration>,
}

/// The settings by which locks and "not found" are recognized.
#[derive(Debug)]
pub(super) struct Marks {
    lock_prefixes: [Vec<u8>; 2],
    not_found: Vec<u8>,
}

impl Marks {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            lock_prefixes: config.lock_prefixes().map(|prefix| prefix.as_bytes().to_vec()),
            not_found: config.not_found_marker().to_vec(),
        }
    }
}

impl Content {
    /// Classify the first bytes of a string of `length` bytes.
    pub(super) fn of(head: &[u8], length: u64, marks: &Marks) -> Self {
        let lock = marks.lock_prefixes.iter().find_map(|prefix| head.strip_prefix(&prefix[..]));
        if let Some(token) = lock {
            return Self::Lock(Lock::of(token));
        }
        let (payload, compute_time) = match open_envelope(head) {
            Some((payload, compute_time)) => (payload, Some(compute_time)),
            None => (head, None),
        };
        let envelope = u64::try_from(head.len() - payload.len()).unwrap_or_default();
        let length = length.saturating_sub(envelope);
        if payload == marks.not_found {
            return Self::NotFound { compute_time };
        }
        Self::Value { length, compute_time }
    }

    /// Return the name in the JSON output.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Lock(_) => "lock",
            Self::NotFound { .. } => "not_found",
            Self::Value { .. } => "value",
            Self::Foreign => "foreign",
        }
    }

    /// Return the meaning as a phrase.
    pub(super) fn describe(&self, kind: &str) -> String {
        match self {
            Self::Missing => "nothing: the next `get_with` loads it".to_owned(),
            Self::Lock(_) => "a lock: a process loads or writes the key".to_owned(),
            Self::NotFound { .. } => "\"not found\", as a loader returned it".to_owned(),
            Self::Value { .. } => "a value".to_owned(),
            Self::Foreign => format!("a {kind} of another program, which redcache cannot read"),
        }
    }
}

/// Return the payload of a string that was read whole.
pub(super) fn payload<'a>(raw: &'a [u8], content: &Content) -> &'a [u8] {
    match content {
        Content::Value { .. } | Content::NotFound { .. } => {
            open_envelope(raw).map_or(raw, |(payload, _)| payload)
        }
        Content::Lock(_) | Content::Missing | Content::Foreign => raw,
    }
}

impl Lock {
    /// Read the bytes after the prefix of a lock: a UUID, `:` and a counter.
    fn of(token: &[u8]) -> Self {
        let text = printable(token);
        let (holder, number) = text.split_once(':').unwrap_or((&text, ""));
        Self {
            holder: holder.to_owned(),
            acquisition: number.parse().ok(),
            created_at: created_at(holder),
        }
    }

    /// Return the age of the UUID by this host's clock; `None` if the UUID has no time or is from
    /// the future.
    pub(super) fn holder_age(&self, now: Duration) -> Option<Duration> {
        now.checked_sub(self.created_at?)
    }

    /// Return the time since the lock was taken or renewed.
    pub(super) fn held_for(&self, ttl: Option<Duration>, lock_ttl: Duration) -> Option<Duration> {
        lock_ttl.checked_sub(ttl?)
    }
}

/// Return the time of a UUIDv7 since the Unix epoch.
fn created_at(uuid: &str) -> Option<Duration> {
    let digits: String = uuid.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || digits.as_bytes()[12] != b'7' {
        return None;
    }
    u64::from_str_radix(&digits[..12], 16).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "018bcfe5-6800-7abc-8def-0123456789ab";

    fn content(raw: &[u8]) -> Content {
        let config = Config::from_url("redis://h").unwrap();
        Content::of(raw, raw.len() as u64, &Marks::of(&config))
    }

    #[test]
    fn the_content_of_a_key_is_recognized() {
        let value = Content::Value { length: 3, compute_time: Some(Duration::from_millis(5)) };
        assert_eq!(content(b"__redcache:v1:5000000:Ada"), value);
        assert_eq!(payload(b"__redcache:v1:5000000:Ada", &value), b"Ada");
        assert_eq!(content(b"plain"), Content::Value { length: 5, compute_time: None });
        assert_eq!(content(b""), Content::Value { length: 0, compute_time: None });
        let not_found = Content::NotFound { compute_time: Some(Duration::ZERO) };
        assert_eq!(content(b"__redcache:v1:0:__redcache:not-found"), not_found);
    }

    #[test]
    fn a_lock_tells_its_holder_and_its_age() {
        let Content::Lock(lock) = content(format!("__redcache:lock:{UUID}:17").as_bytes()) else {
            panic!("no lock");
        };
        assert_eq!((lock.holder.as_str(), lock.acquisition), (UUID, Some(17)));
        let created_at = Duration::from_millis(0x018b_cfe5_6800);
        let second = Duration::from_secs(1);
        assert_eq!(lock.holder_age(created_at + second), Some(second));
        assert_eq!(lock.holder_age(Duration::ZERO), None);
        let (ttl, lock_ttl) = (Duration::from_secs(8), Duration::from_secs(10));
        assert_eq!(lock.held_for(Some(ttl), lock_ttl), Some(2 * second));
        assert_eq!(lock.held_for(Some(lock_ttl + second), lock_ttl), None);
    }

    #[test]
    fn a_lock_of_another_form_has_no_age() {
        let Content::Lock(lock) = content(b"__redcache:lock:\x1bodd\xff") else {
            panic!("no lock")
        };
        assert_eq!((lock.acquisition, lock.holder_age(Duration::MAX)), (None, None));
        let Content::Lock(lock) = content(format!("__redcache:refresh:{UUID}").as_bytes()) else {
            panic!("no lock of redcache for Go");
        };
        assert!(lock.holder_age(Duration::MAX).is_some() && lock.acquisition.is_none());
    }
}
