//! The latest bytes of one direction of a connection.

use std::collections::VecDeque;
use std::time::Instant;

/// The number of bytes that a tape keeps.
const BYTES_MAX: usize = 512 * 1024;

#[derive(Debug)]
pub(super) struct Tape {
    started_at: Instant,
    pieces: VecDeque<(Instant, Vec<u8>)>,
    length: usize,
}

impl Tape {
    pub(super) fn new() -> Self {
        Self { started_at: Instant::now(), pieces: VecDeque::new(), length: 0 }
    }

    pub(super) fn record(&mut self, at: Instant, bytes: &[u8]) {
        self.length += bytes.len();
        self.pieces.push_back((at, bytes.to_vec()));
        while self.length > BYTES_MAX
            && let Some((_, oldest)) = self.pieces.pop_front()
        {
            self.length -= oldest.len();
        }
    }

    /// Return the pieces as lines of text: milliseconds since the start, and escaped bytes.
    pub(super) fn text(&self) -> String {
        let line = |(at, bytes): &(Instant, Vec<u8>)| {
            let elapsed = at.duration_since(self.started_at).as_secs_f64() * 1000.0;
            format!("{elapsed:.3} {}\n", bytes.escape_ascii())
        };
        self.pieces.iter().map(line).collect()
    }
}
