//! The content of a cache key: nothing, a lock, or a value in its envelope.
//!
//! The envelope of a value is `__redcache:v1:`, the loader's run time in decimal nanoseconds, `:`
//! and the payload. The part of the run time below a millisecond is a random stamp, so that two
//! writes of the same payload differ and a refresh replaces exactly the write that it has read. Any
//! other string is a value without an envelope, so keys that another program has filled are
//! readable.

use std::time::Duration;

use bytes::Bytes;

use crate::api::config::ENVELOPE_PREFIX;

/// The content of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// The key does not exist.
    Missing,
    /// A process loads or writes the key. The bytes are those of its lock.
    Lock(Bytes),
    /// A value without its envelope.
    Value(Value),
}

impl Stored {
    /// Return the length in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Lock(lock) => lock.len(),
            Self::Value(value) => value.payload.len(),
        }
    }
}

/// A cached value and the data of its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Value {
    /// The application's bytes.
    pub payload: Bytes,
    /// The run time of the loader; zero when unknown.
    pub compute_time: Duration,
}

/// A [`Stored`] that borrows the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View<'a> {
    Lock(&'a [u8]),
    Value { payload: &'a [u8], compute_time: Duration },
}

impl<'a> View<'a> {
    pub(crate) fn of(raw: &'a [u8], lock_prefix: &[u8]) -> Self {
        if raw.starts_with(lock_prefix) && !mutant!(LockTakenForValue) {
            return View::Lock(raw);
        }
        match open_envelope(raw).filter(|_| !mutant!(EnvelopeKept)) {
            Some((payload, compute_time)) => View::Value { payload, compute_time },
            None => View::Value { payload: raw, compute_time: Duration::ZERO },
        }
    }
}

/// Return the payload and the run time of an envelope; `None` if `raw` is not a well-formed one.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use redcache_core::protocol::open_envelope;
///
/// let envelope = open_envelope(b"__redcache:v1:5000000:Ada");
/// assert_eq!(envelope, Some((&b"Ada"[..], Duration::from_millis(5))));
/// assert_eq!(open_envelope(b"Ada"), None);
/// ```
pub fn open_envelope(raw: &[u8]) -> Option<(&[u8], Duration)> {
    let rest = raw.strip_prefix(ENVELOPE_PREFIX)?;
    let colon = rest.iter().position(|&byte| byte == b':')?;
    let digits = std::str::from_utf8(&rest[..colon]).ok()?;
    let nanoseconds = u64::try_from(digits.parse::<i64>().ok()?).ok()?;
    Some((&rest[colon + 1..], Duration::from_nanos(nanoseconds)))
}

/// Return a run time whose part below a millisecond is replaced by a stamp.
pub(crate) fn stamped(compute_time: Duration, stamp: u64) -> Duration {
    const STAMPS: u64 = 1_000_000;
    if mutant!(WritesUnstamped) {
        return Duration::ZERO;
    }
    let millis = u64::try_from(compute_time.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis) + Duration::from_nanos(stamp % STAMPS)
}

/// Append `payload` in its envelope to `out`.
pub fn write_envelope(out: &mut Vec<u8>, payload: &[u8], compute_time: Duration) {
    let nanoseconds = i64::try_from(compute_time.as_nanos()).unwrap_or(i64::MAX);
    out.reserve(ENVELOPE_PREFIX.len() + 20 + payload.len());
    out.extend_from_slice(ENVELOPE_PREFIX);
    push_decimal(out, nanoseconds.unsigned_abs());
    out.push(b':');
    out.extend_from_slice(payload);
}

/// Append `number` in decimal, without a temporary allocation.
pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    // Most numbers are lengths of a digit or two.
    if number < 100 {
        let (tens, ones) = (b'0' + (number / 10) as u8, b'0' + (number % 10) as u8);
        return if number < 10 { out.push(ones) } else { out.extend_from_slice(&[tens, ones]) };
    }
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // A remainder of ten fits a byte.
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Return the number of bytes that [`push_decimal`] appends.
pub(crate) fn decimal_digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK_PREFIX: &[u8] = b"__redcache:lock:";

    fn check(raw: &[u8], payload: &[u8], nanoseconds: u64) {
        let expected = View::Value { payload, compute_time: Duration::from_nanos(nanoseconds) };
        assert_eq!(View::of(raw, LOCK_PREFIX), expected, "{}", raw.escape_ascii());
    }

    #[test]
    fn the_published_vectors_hold() {
        let mut out = Vec::new();
        write_envelope(&mut out, b"hello", Duration::from_millis(100));
        assert_eq!(out, b"__redcache:v1:100000000:hello");
        out.clear();
        write_envelope(&mut out, b"", Duration::ZERO);
        assert_eq!(out, b"__redcache:v1:0:");
        check(b"__redcache:v1:5000000:__redcache:v1:99:body", b"__redcache:v1:99:body", 5_000_000);
        for raw in [
            &b"__redcache:v1:notanumber:body"[..],
            b"__redcache:v1:-5:body",
            b"__redcache:v1:nocolons",
            b"__redcache:v1:99999999999999999999:body",
            b"plain",
            b"",
        ] {
            check(raw, raw, 0);
        }
        check(b"__redcache:v1:+7:x", b"x", 7);
    }

    #[test]
    fn a_stamp_takes_the_place_of_what_is_below_a_millisecond() {
        let run_time = Duration::from_micros(2_700);
        assert_eq!(stamped(run_time, 5_000_007), Duration::from_nanos(2_000_007));
        assert_ne!(stamped(run_time, 1), stamped(run_time, 2));
        assert!(stamped(Duration::MAX, 999_999) > Duration::from_secs(1 << 50));
    }

    #[test]
    fn a_lock_is_recognised_by_its_prefix_alone() {
        assert_eq!(View::of(LOCK_PREFIX, LOCK_PREFIX), View::Lock(LOCK_PREFIX));
        assert_eq!(
            View::of(b"__redcache:lock:x:1", LOCK_PREFIX),
            View::Lock(b"__redcache:lock:x:1")
        );
    }

    #[test]
    fn an_absurd_compute_time_is_clamped() {
        let mut out = Vec::new();
        write_envelope(&mut out, b"x", Duration::MAX);
        check(&out, b"x", i64::MAX as u64);
    }
}
