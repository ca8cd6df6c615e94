//! The values that settings allow, where they are no range.

use std::time::Duration;

use bytes::Bytes;

pub(super) fn is_any<T>(_: &Option<T>) -> bool {
    true
}

pub(super) fn is_near_staleness(max: &Duration) -> bool {
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(366 * 24 * 3600));
    max.is_zero() || (least..=most).contains(max)
}

pub(super) fn is_client_name(name: &Option<String>) -> bool {
    let is_printable = |name: &String| name.bytes().all(|byte| byte.is_ascii_graphic());
    name.as_ref().is_none_or(|name| !name.is_empty() && is_printable(name))
}

pub(super) fn is_present(text: &str) -> bool {
    !text.is_empty()
}

pub(super) fn is_non_empty(bytes: &Bytes) -> bool {
    !bytes.is_empty()
}
