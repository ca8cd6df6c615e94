//! A large value that is read in pieces.
//!
//! A server executes one command at a time. While it copies and sends a value of 8 MiB, it answers
//! no other command for milliseconds. So a read of a key whose last value was large asks for pieces
//! with `GETRANGE`, and other commands are executed between them. The value is the same in all
//! pieces: the server tracks the key from the first piece on, and a change is reported before the
//! reply to the next piece.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::api::config::{Config, ENVELOPE_PREFIX};
use crate::protocol::reply::ReadReply;
use crate::wire::value_memory::{Room, Total, append};

/// The longest piece. A server sends it in about 0.05 ms.
const PIECE_MAX: usize = 128 << 10;
/// The least number of pieces of a value that is longer than [`PIECE_MAX`] by far.
const PIECES_MIN: usize = 4;
/// The number of pieces in flight to a near server: one to send, and one that the client copies.
const WINDOW: usize = 2;
/// The largest number of pieces in flight.
const WINDOW_MAX: usize = 64;
/// The round trip for each further piece in flight.
const ROUND_TRIP: Duration = Duration::from_millis(1);
/// The length of an envelope beside its prefix.
const STAMP: usize = 12;

/// The rule by which a connection reads values in pieces.
#[derive(Debug, Clone, Copy)]
pub(super) struct PieceRule {
    large_from: usize,
    /// The longest value that is read in pieces.
    value_max: usize,
}

/// The state of a connection that reads values in pieces.
#[derive(Debug, Default)]
pub(super) struct Piecewise {
    /// `None` if values are read at once.
    pub(super) rule: Option<PieceRule>,
    /// The number of reads in pieces that have begun.
    pub(super) begun: u64,
}

/// A read in pieces.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// The length of the key's last value.
    expected: usize,
    value_max: usize,
    /// The number of the read among those of its connection.
    pub(super) number: u64,
    size: usize,
    requested: usize,
    received: usize,
    window: usize,
    pub(super) head: Head,
    value: Vec<u8>,
    /// The number of bytes in the value that [`take`](Self::take) has counted.
    counted: usize,
    /// The answers beside the value.
    pub(super) beside: ReadReply,
    is_torn: bool,
    /// The last piece was empty.
    is_at_end: bool,
}

/// The reply to the first piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Awaited,
    /// The whole value.
    Whole,
    /// A part of the value.
    Part,
    /// Nothing: there is no value, or it has no bytes.
    Empty,
    Refused {
        /// Whether a `GET` may not be refused.
        by_itself: bool,
    },
}

/// The state after a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Complete,
    /// The key has changed, or a piece is missing.
    Torn,
}

impl PieceRule {
    pub(super) fn new(config: &Config, value_max: usize) -> Self {
        Self { large_from: config.large_value_bytes, value_max }
    }

    /// Return the length of the pieces of a value of this length; `None` if it is read at once.
    fn size(self, length: usize) -> Option<usize> {
        let size = length.div_ceil(PIECES_MIN).max(2 * self.large_from).min(PIECE_MAX);
        (length > size + size / 2 && length <= self.value_max).then_some(size)
    }
}

impl Pieces {
    /// Expect a payload of this length.
    pub(super) fn new(payload: usize) -> Self {
        Self {
            expected: payload + ENVELOPE_PREFIX.len() + STAMP,
            value_max: 0,
            number: 0,
            size: 0,
            requested: 0,
            received: 0,
            window: WINDOW,
            head: Head::Awaited,
            value: Vec::new(),
            counted: 0,
            beside: ReadReply::default(),
            is_torn: false,
            is_at_end: false,
        }
    }

    /// Begin to read. Return the range of the first piece; `None` if the value is read at once.
    pub(super) fn begin(&mut self, rule: PieceRule, number: u64) -> Option<(usize, usize)> {
        let size = rule.size(self.expected)?;
        let value_max = rule.value_max;
        *self = Self { number, size, value_max, ..Self::new(0).expecting(self.expected) };
        self.next_range()
    }

    fn expecting(self, expected: usize) -> Self {
        Self { expected, ..self }
    }

    /// Return the first and the last byte of the next piece to request.
    pub(super) fn next_range(&mut self) -> Option<(usize, usize)> {
        let expected = self.expected.div_ceil(self.size);
        let wanted = if self.is_at_end { 0 } else { expected }.max(self.received + 1);
        if self.requested >= wanted || self.requested - self.received >= self.window {
            return None;
        }
        let start = self.requested * self.size;
        self.requested += 1;
        Some((start, start + self.size - 1))
    }

    /// Return the memory for the next piece; `None` if the piece is not wanted.
    pub(super) fn room(&mut self) -> Option<Room<'_>> {
        let (piece, total) = (self.size, Total::known(self.expected));
        let fits = self.value.len() + piece <= self.value_max;
        (fits && !self.is_torn).then_some(Room { memory: &mut self.value, piece, total })
    }

    /// Take the bytes of the next piece, after the bytes in its [`room`](Self::room).
    ///
    /// An empty piece is the end of the value, or the key has expired at this piece. Its
    /// invalidation then follows, so the end counts once another reply has come without it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Progress {
        self.received += 1;
        let length = self.value.len() - self.counted + bytes.len();
        let is_beyond = self.is_at_end && length > 0;
        // A value that has grown by more than a piece is read at once, because each further piece
        // would cost a round trip.
        let has_grown = self.received > self.expected.div_ceil(self.size) + 1;
        if self.is_torn
            || is_beyond
            || has_grown && length > 0
            || length > self.size
            || self.counted + length > self.value_max
        {
            return Progress::Torn;
        }
        append(&mut self.value, bytes, Total::known(self.expected));
        self.counted += length;
        if length == 0 && !mutant!(ExpiredValueKept) {
            let is_certain = std::mem::replace(&mut self.is_at_end, true);
            return if is_certain { Progress::Complete } else { Progress::More };
        }
        if length == self.size { Progress::More } else { Progress::Complete }
    }

    /// Take the first piece.
    pub(super) fn take_head(&mut self, bytes: &[u8]) {
        self.head = match self.take(bytes) {
            Progress::Complete | Progress::More if self.counted == 0 => Head::Empty,
            Progress::Complete => Head::Whole,
            Progress::More => Head::Part,
            Progress::Torn => Head::Refused { by_itself: false },
        };
    }

    /// Adapt the number of pieces in flight to the round trip of the first one.
    pub(super) fn on_round_trip(&mut self, sent_at: Instant, now: Instant) {
        let round_trips = now.saturating_duration_since(sent_at).as_nanos() / ROUND_TRIP.as_nanos();
        let further = usize::try_from(round_trips).unwrap_or(WINDOW_MAX);
        self.window = WINDOW.saturating_add(further).min(WINDOW_MAX);
    }

    /// Record a change of the key.
    pub(super) fn on_invalidated(&mut self) {
        self.is_torn |= self.received > 0 && !mutant!(TornValueKept);
    }

    /// Return the whole value, envelope included.
    pub(super) fn take_value(&mut self) -> Bytes {
        let mut value = std::mem::take(&mut self.value);
        if value.capacity() - value.len() > value.len() / 8 {
            value.shrink_to_fit();
        }
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_of_more_than_a_piece_and_a_half_are_read_in_pieces() {
        let rule = PieceRule { large_from: 128 << 10, value_max: 64 << 20 };
        assert_eq!(rule.size(192 << 10), None);
        assert_eq!(rule.size((192 << 10) + 1), Some(PIECE_MAX));
        assert_eq!(rule.size(8 << 20), Some(PIECE_MAX));
        assert_eq!(rule.size((64 << 20) + 1), None);
        let rule = PieceRule { large_from: 1 << 10, ..rule };
        assert_eq!(rule.size(1 << 20), Some(PIECE_MAX));
        assert_eq!(rule.size(12 << 10), Some(3 << 10));
    }

    #[test]
    fn a_value_that_exceeds_the_limit_is_given_up() {
        let mut pieces = Pieces::new(200);
        assert!(pieces.begin(PieceRule { large_from: 50, value_max: 300 }, 1).is_some());
        assert_eq!(pieces.take(&[b'x'; 100]), Progress::More);
        assert_eq!(pieces.take(&[b'x'; 100]), Progress::More);
        assert_eq!(pieces.take(&[b'x'; 100]), Progress::More);
        assert_eq!(pieces.take(b"x"), Progress::Torn);
    }

    #[test]
    fn memory_is_reserved_as_bytes_arrive() {
        let mut pieces = Pieces::new(256 << 20);
        assert!(
            pieces.begin(PieceRule { large_from: 128 << 10, value_max: 300 << 20 }, 1).is_some()
        );
        pieces.take(&vec![b'x'; PIECE_MAX]);
        assert!(pieces.value.capacity() <= 256 * PIECE_MAX);
        pieces.take(b"x");
        assert!(pieces.take_value().len() == PIECE_MAX + 1);
    }
}
