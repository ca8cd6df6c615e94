//! The steps of a batch that starts in parts. Each step writes its part, so that the server begins
//! before the batch is whole.

/// The progress of a batch after one of its parts.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// No command was in flight before the first part.
    pub was_idle: bool,
    /// There are more parts.
    pub is_starting: bool,
}

/// Take the first step, and one for each part that is left. Return the result of the first step.
pub fn in_parts<T>(
    first: impl FnOnce() -> (T, Progress),
    mut next: impl FnMut(Progress) -> Progress,
) -> T {
    let (result, mut progress) = first();
    while progress.is_starting {
        progress = next(progress);
    }
    result
}
