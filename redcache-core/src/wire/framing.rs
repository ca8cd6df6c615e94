//! Splits the byte stream of a connection into frames.

use bytes::Bytes;

use crate::api::config::Config;
use crate::api::error::{Error, ErrorKind};
use crate::protocol::oversized::stand_in;
use crate::resp::{DecodeError, Limits, Scanner, TooLong};
use crate::wire::inbound::Input;

/// The number of bytes that a frame may have besides the values in it.
const OVERHEAD_MAX: usize = 1 << 20;

/// The longest payload that is skipped: no server stores a longer one.
const SKIPPED_MAX: usize = 512 << 20;

/// A buffer that has grown beyond this size shrinks once a large frame is read.
const KEPT: usize = 256 << 10;

/// The least length of a reply whose value is passed on without a copy. The bytes around the value
/// are then a small part of the reply.
const OWNED_MIN: usize = 4 << 10;

/// The largest size of the buffer of an unfinished frame, in multiples of the bytes that have
/// arrived.
const GROWTH: usize = 4;

const CRLF: [u8; 2] = *b"\r\n";

/// The frame reader of one connection. A frame within one read is not copied. A large value in
/// several reads is copied once, into memory of its own.
///
/// A payload that is too long is read and dropped, and an error replaces it, so that its frame
/// costs no memory and the connection stays open.
#[derive(Debug)]
pub(super) struct Framing {
    scanner: Scanner,
    /// Bytes of earlier reads: from `start` on they belong to an unfinished frame.
    tail: Vec<u8>,
    start: usize,
    /// The number of the next bytes that belong to an overlong payload or to its terminator.
    skipped: usize,
    /// The number of bytes of the unfinished frame that were dropped.
    dropped: usize,
    /// The last frame, if it is a large value in memory of its own.
    owned: Bytes,
}

/// A whole frame.
#[derive(Debug)]
pub(super) struct Framed<'a> {
    pub(super) bytes: &'a [u8],
    /// The memory of the frame, if the frame is one large value.
    pub(super) owner: Option<&'a Bytes>,
}

/// The limits of the next frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameMax {
    /// Bytes of one payload. A longer one is skipped.
    pub(super) payload: usize,
    /// Bytes of all payloads of an unfinished frame.
    pub(super) unfinished: usize,
}

impl Framing {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            scanner: Scanner::new(limits),
            tail: Vec::new(),
            start: 0,
            skipped: 0,
            dropped: 0,
            owned: Bytes::new(),
        }
    }

    /// Return the next whole frame; `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not RESP3, or if an unfinished frame exceeds its limit by more than
    /// 1 MiB.
    pub(super) fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut Input<'i>,
        max: FrameMax,
    ) -> Result<Option<Framed<'a>>, Error> {
        if self.start > 0 && self.start == self.tail.len() {
            self.tail = Vec::new();
            self.start = 0;
            self.dropped = 0;
        }
        if !self.owned.is_empty() {
            self.owned = Bytes::new();
        }
        self.scanner.set_bulk_max(max.payload);
        if self.tail.is_empty() {
            let bytes = input.0;
            if bytes.is_empty() {
                return Ok(None);
            }
            match self.scanner.scan(bytes) {
                Ok(Some(length)) => {
                    let (bytes, rest) = bytes.split_at(length);
                    input.0 = rest;
                    return Ok(Some(Framed { bytes, owner: None }));
                }
                Ok(None) => {
                    check_unfinished(bytes.len(), max.unfinished)?;
                    self.gather(input);
                    return Ok(None);
                }
                Err(DecodeError::BulkTooLong) => {
                    self.tail.extend_from_slice(bytes);
                    input.0 = &[];
                    self.omit()?;
                }
                Err(error) => return Err(broken(error)),
            }
        }
        let length = loop {
            self.skip(input)?;
            if self.skipped > 0 {
                return Ok(None);
            }
            self.gather(input);
            let unread = &self.tail[self.start..];
            match self.scanner.scan(unread) {
                Ok(Some(length)) => break length,
                Ok(None) => {
                    check_unfinished(unread.len(), max.unfinished)?;
                    if input.0.is_empty() {
                        self.tail.drain(..self.start);
                        self.start = 0;
                        if self.tail.capacity() > KEPT && self.tail.len() < KEPT / 2 {
                            self.tail.shrink_to(KEPT);
                        }
                        return Ok(None);
                    }
                }
                Err(DecodeError::BulkTooLong) => self.omit()?,
                Err(error) => return Err(broken(error)),
            }
        };
        if self.start == 0 && length >= OWNED_MIN && is_value_alone(&self.tail, length) {
            self.owned = Bytes::from(std::mem::take(&mut self.tail));
            return Ok(Some(Framed { bytes: &self.owned, owner: Some(&self.owned) }));
        }
        let start = self.start;
        self.start += length;
        Ok(Some(Framed { bytes: &self.tail[start..start + length], owner: None }))
    }

    /// Add bytes to the unfinished frame: those up to the end of its payload if that is known, else
    /// all.
    fn gather(&mut self, input: &mut Input<'_>) {
        let unread = self.tail.len() - self.start;
        let missing = self.scanner.wanted().saturating_sub(unread);
        let come = input.0.len();
        let (bytes, rest) = input.0.split_at(if missing == 0 { come } else { missing.min(come) });
        input.0 = rest;
        let needed = self.tail.len() + bytes.len();
        if missing > 0 && needed > self.tail.capacity() {
            // The server announces a length long before the bytes arrive, and may never send them.
            let room = (self.tail.len() + missing).min(GROWTH * needed);
            self.tail.reserve_exact(room - self.tail.len());
        }
        self.tail.extend_from_slice(bytes);
    }

    /// Return whether no byte of the next frame has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.tail.len() && self.skipped == 0
    }

    /// Return the number of bytes of the next frame that have arrived, unless it is a push.
    pub(super) fn length_of_unfinished_reply(&self) -> Option<usize> {
        let unfinished = &self.tail[self.start..];
        unfinished.first().filter(|kind| **kind != b'>').map(|_| unfinished.len() + self.dropped)
    }

    /// Replace an overlong payload, as far as it has arrived.
    fn omit(&mut self) -> Result<(), Error> {
        let too_long = self
            .scanner
            .too_long()
            .filter(|it| it.length <= SKIPPED_MAX && !mutant!(OversizedMalformed));
        let Some(TooLong { header, start, length }) = too_long else {
            return Err(broken(DecodeError::BulkTooLong));
        };
        let terminator = self.start + start + length;
        let end = terminator + CRLF.len();
        let come = end.min(self.tail.len());
        let part = self.tail.get(terminator..come).unwrap_or_default();
        check_terminator(&CRLF[..part.len()], part)?;
        let stand_in = stand_in(length);
        self.scanner.on_replaced(header + stand_in.len());
        self.tail.splice(self.start + header..come, stand_in);
        self.skipped = end - come;
        Ok(())
    }

    /// Drop the bytes of a payload that is too long.
    fn skip(&mut self, input: &mut Input<'_>) -> Result<(), Error> {
        let (dropped, rest) = input.0.split_at(self.skipped.min(input.0.len()));
        input.0 = rest;
        let before = self.skipped;
        self.skipped -= dropped.len();
        self.dropped += dropped.len();
        // The terminator is the last two of the bytes.
        let expected = &CRLF[CRLF.len() - before.min(CRLF.len())..CRLF.len() - self.skipped.min(2)];
        check_terminator(expected, &dropped[dropped.len() - expected.len()..])
    }
}

/// Return the longest payload of a reply.
pub(super) fn bulk_max(config: &Config) -> usize {
    // The limit includes the envelope of a value, and the texts of a cluster's topology.
    let topology_max = if config.servers.is_cluster() { 16 << 10 } else { 0 };
    config.value_max.saturating_add(64).max(topology_max)
}

/// Return whether the buffer holds one value and little else.
fn is_value_alone(buffer: &Vec<u8>, length: usize) -> bool {
    buffer.first() == Some(&b'$')
        && buffer.len() == length
        && buffer.capacity() - length <= length / 8
}

fn check_terminator(expected: &[u8], come: &[u8]) -> Result<(), Error> {
    if come == expected { Ok(()) } else { Err(broken(DecodeError::PayloadEnd)) }
}

/// Limit the memory for an unfinished frame. The scanner limits each string, but a frame may hold
/// many.
fn check_unfinished(length: usize, unfinished_max: usize) -> Result<(), Error> {
    if length <= unfinished_max.saturating_add(OVERHEAD_MAX) {
        return Ok(());
    }
    let text = "a frame is longer than `value_max` for each value in it and 1 MiB";
    Err(Error::new(ErrorKind::Protocol, text))
}

pub(super) fn broken(error: DecodeError) -> Error {
    let text = format!("{error} (does a Redis without TLS listen on this port?)");
    Error::new(ErrorKind::Protocol, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::oversized::omitted_length;
    use crate::resp::{Frame, decode};

    const MAX: FrameMax = FrameMax { payload: 10, unfinished: 100 };

    /// Return the frames in bytes that come in pieces of this size, as text.
    fn read(bytes: &[u8], size: usize) -> Result<Vec<String>, Error> {
        let (mut framing, mut frames) = (Framing::new(Limits::default()), Vec::new());
        for piece in bytes.chunks(size) {
            let mut input = Input(piece);
            while let Some(frame) = framing.next(&mut input, MAX)? {
                frames.push(shown(&decode(frame.bytes).unwrap()));
            }
            assert!(framing.tail.len() < 200 + size, "{}", framing.tail.len());
        }
        Ok(frames)
    }

    fn shown(frame: &Frame<'_>) -> String {
        match frame {
            Frame::Error(text) => match omitted_length(text) {
                Some(length) => format!("omitted {length}"),
                None => "error".to_owned(),
            },
            Frame::Array(parts) => parts.iter().map(shown).collect::<Vec<_>>().join(", "),
            Frame::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        }
    }

    fn bulk(length: usize) -> String {
        format!("${length}\r\n{}\r\n", "\r\n".repeat(length / 2 + 1).split_at(length).0)
    }

    #[test]
    fn payloads_beyond_the_limit_are_skipped_wherever_the_bytes_are_cut() {
        let array = format!("*4\r\n$1\r\na\r\n{}{}$1\r\nb\r\n", bulk(1000), bulk(11));
        let last = format!("*2\r\n$1\r\nc\r\n{}", bulk(501));
        let bytes = format!("$2\r\nxx\r\n{}{array}$1\r\ny\r\n{last}$1\r\nz\r\n", bulk(3000));
        let expected =
            ["xx", "omitted 3000", "a, omitted 1000, omitted 11, b", "y", "c, omitted 501"];
        for size in (1..60).chain([1000, 3000, 3020, 10_000]) {
            let frames = read(bytes.as_bytes(), size).unwrap();
            assert_eq!(frames[..5], expected, "{size}");
            assert_eq!(frames[5..], ["z"], "{size}");
        }
    }

    #[test]
    fn a_buffer_that_a_large_frame_has_filled_shrinks_once_the_frame_is_read() {
        let max = FrameMax { payload: 60 << 20, unfinished: 60 << 20 };
        let large = format!("${}\r\n{}\r\n", 60 << 20, "x".repeat(60 << 20));
        // The start of the next frame arrives together with the end of the large one.
        let (first, last) = large.split_at(large.len() / 2);
        for rest in ["", "$5\r\nab"] {
            let mut framing = Framing::new(Limits::default());
            assert!(framing.next(&mut Input(first.as_bytes()), max).unwrap().is_none());
            let bytes = [last, rest].concat();
            let mut input = Input(bytes.as_bytes());
            assert_eq!(framing.next(&mut input, max).unwrap().unwrap().bytes.len(), large.len());
            assert!(framing.next(&mut input, max).unwrap().is_none());
            assert!(framing.tail.capacity() <= KEPT, "{}", framing.tail.capacity());
        }
    }

    #[test]
    fn a_skipped_payload_without_its_terminator_ends_the_connection() {
        for end in ["\r\r", "\n\n", "xy", "\rx"] {
            let bytes = format!("$1000\r\n{}{end}", "x".repeat(1000));
            for size in [1, 7, 999, 1008, 1009, 1010, 2000] {
                assert!(read(bytes.as_bytes(), size).is_err(), "{end:?} {size}");
            }
        }
        assert!(read(b"$536870913\r\n", 100).is_err());
    }

    #[test]
    fn a_large_value_in_several_reads_gets_memory_of_its_own() {
        let max = FrameMax { payload: 1 << 20, unfinished: 1 << 20 };
        let (large, small) = (bulk(300_000), bulk(1_000));
        let array = format!("*1\r\n{large}");
        for (frame, is_owned) in [(&large, true), (&small, false), (&array, false)] {
            for size in [3, 100, 60_000, 400_000] {
                let bytes = format!("{frame}:1\r\n{frame}{frame}");
                let (mut framing, mut owned) = (Framing::new(Limits::default()), 0);
                let mut lengths = Vec::new();
                for piece in bytes.as_bytes().chunks(size) {
                    let mut input = Input(piece);
                    while let Some(Framed { bytes, owner }) = framing.next(&mut input, max).unwrap()
                    {
                        lengths.push(bytes.len());
                        owned += usize::from(owner.is_some());
                        assert!(owner.is_none_or(|owner| owner == bytes));
                    }
                }
                assert_eq!(lengths, [frame.len(), 4, frame.len(), frame.len()]);
                assert_eq!(owned > 0, is_owned, "{size}");
            }
        }
    }

    #[test]
    fn the_buffer_grows_with_what_has_come() {
        let max = FrameMax { payload: 1 << 30, unfinished: 1 << 30 };
        let mut framing = Framing::new(Limits::default());
        assert!(framing.next(&mut Input(b"$500000000\r\nx"), max).unwrap().is_none());
        assert!(framing.tail.capacity() < 100, "{}", framing.tail.capacity());
        assert!(framing.next(&mut Input(&[b'x'; 1000]), max).unwrap().is_none());
        assert!(framing.tail.capacity() < 5_000, "{}", framing.tail.capacity());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_frames(
            lengths in proptest::collection::vec(0..40_usize, 1..8),
            size in 1..100_usize,
        ) {
            let bytes: String = lengths.iter().map(|length| bulk(*length)).collect();
            let frames = read(bytes.as_bytes(), size).unwrap();
            let whole = read(bytes.as_bytes(), bytes.len()).unwrap();
            prop_assert_eq!(frames.len(), lengths.len());
            prop_assert_eq!(frames, whole);
        }
    }
}
