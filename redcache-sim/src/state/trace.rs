//! The trace of a run: a hash, and readable lines on request.

use crate::clock::Micros;

/// An FNV-1a hash of everything that crossed a link, and the lines.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Trace {
    pub(crate) fn new(with_lines: bool) -> Self {
        Self { hash: OFFSET, lines: with_lines.then(Vec::new) }
    }

    /// Mix numbers into the hash.
    pub(crate) fn mix(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.hash = (self.hash ^ number).wrapping_mul(PRIME);
            self.hash ^= self.hash >> 29;
        }
    }

    /// Mix bytes into the hash.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.mix(&[u64::from_le_bytes(word)]);
        }
        for &byte in chunks.remainder() {
            self.mix(&[u64::from(byte)]);
        }
        self.mix(&[bytes.len() as u64]);
    }

    /// Add a line if lines are recorded.
    pub(crate) fn line(&mut self, now: Micros, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>9}.{:03} ms  {}", now / 1000, now % 1000, text()));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
