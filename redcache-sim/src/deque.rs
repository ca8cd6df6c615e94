//! Removal of the front of a queue under a condition: `VecDeque::pop_front_if` needs Rust 1.93.

use std::collections::VecDeque;

/// Remove and return the front of `queue` if `is_due` holds for it.
pub(crate) fn pop_front_if<T>(
    queue: &mut VecDeque<T>,
    is_due: impl FnOnce(&T) -> bool,
) -> Option<T> {
    if queue.front().is_some_and(is_due) { queue.pop_front() } else { None }
}
