//! Splits the byte stream of a connection into frames.

use bytes::Bytes;

use crate::api::config::Config;
use crate::api::error::{Error, ErrorKind};
use crate::protocol::oversized::stand_in;
use crate::resp::{DecodeError, Limits, Scanner, TooLong};
use crate::wire::input::Input;
use crate::wire::value_memory::{Room, Total, ValueMemory, append};

mod piece_frame;
mod terminator;

use piece_frame::PieceFrame;
pub(super) use terminator::broken;
use terminator::{CRLF, check_terminator, without_terminator};

/// The number of bytes that a frame may have besides the values in it.
const OVERHEAD_MAX: usize = 1 << 20;

/// The longest payload that is skipped: no server stores a longer one.
const SKIPPED_MAX: usize = 512 << 20;

/// A buffer that has grown beyond this size shrinks once a large frame is read.
const KEPT: usize = 256 << 10;

/// The least length of a reply whose value is passed on without a copy. The bytes around the value
/// are then a small part of the reply.
const OWNED_MIN: usize = 4 << 10;

const EMPTY_STRING: &[u8] = b"$0\r\n\r\n";

/// The frame reader of one connection. A frame within one read is not copied. A large value in
/// several reads is copied once, into memory of its own. A piece of a value is copied once, into
/// the memory of that value. This memory may be lent to the adapter, which then copies the bytes.
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
    /// The piece of a value that is being received.
    piece: Option<PieceFrame>,
    /// The number of bytes of the unfinished frame that had arrived when its memory was lent.
    lent: Option<usize>,
}

/// A whole frame.
#[derive(Debug)]
pub(super) struct Framed<'a> {
    /// The frame. It is an empty string if the payload has gone to its [`Room`].
    pub(super) bytes: &'a [u8],
    /// The length of the frame as it was received.
    pub(super) length: usize,
    /// The memory of the frame, if the frame is one large value.
    pub(super) owner: Option<&'a Bytes>,
}

impl<'a> Framed<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, length: bytes.len(), owner: None }
    }
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
            piece: None,
            lent: None,
        }
    }

    /// Return the next whole frame; `None` if more bytes are needed. If the frame is the piece for
    /// which there is `room`, its payload goes there. The room stays the same until the frame is
    /// whole.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not RESP3, or if an unfinished frame exceeds its limit by more than
    /// 1 MiB. It also fails if the adapter does not return memory that was lent.
    pub(super) fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut Input<'i>,
        max: FrameMax,
        room: Option<Room<'_>>,
    ) -> Result<Option<Framed<'a>>, Error> {
        self.take_back(input)?;
        self.forget_last();
        self.scanner.set_bulk_max(max.payload);
        if self.tail.is_empty() {
            let bytes = input.bytes;
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(piece) = self.piece.take() {
                return self.add_to_piece(piece, input, room);
            }
            match self.scanner.scan(bytes) {
                Ok(Some(length)) => {
                    let (bytes, rest) = bytes.split_at(length);
                    input.bytes = rest;
                    return Ok(Some(Framed::new(bytes)));
                }
                Ok(None) => {
                    check_unfinished(bytes.len(), max.unfinished)?;
                    return self.begin(input, room);
                }
                Err(DecodeError::BulkTooLong) => {
                    self.tail.extend_from_slice(bytes);
                    input.bytes = &[];
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
            if self.lent.is_some() {
                return Ok(None);
            }
            let unread = &self.tail[self.start..];
            match self.scanner.scan(unread) {
                Ok(Some(length)) => break length,
                Ok(None) => {
                    check_unfinished(unread.len(), max.unfinished)?;
                    if input.bytes.is_empty() {
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
            let owner = Some(&self.owned);
            return Ok(Some(Framed { owner, ..Framed::new(&self.owned) }));
        }
        let start = self.start;
        self.start += length;
        Ok(Some(Framed::new(&self.tail[start..start + length])))
    }

    /// Free the memory of the last frame.
    fn forget_last(&mut self) {
        if self.start > 0 && self.start == self.tail.len() {
            self.tail = Vec::new();
            self.start = 0;
            self.dropped = 0;
        }
        if !self.owned.is_empty() {
            self.owned = Bytes::new();
        }
    }

    /// Begin a frame that has not arrived whole.
    fn begin<'a>(
        &mut self,
        input: &mut Input<'_>,
        room: Option<Room<'_>>,
    ) -> Result<Option<Framed<'a>>, Error> {
        if let Some(mut room) = room
            && input.is_at(b'$')
            && let Some(header) = self.scanner.leave_payload(room.piece)
        {
            let piece = PieceFrame::begin(header, &mut room, input);
            return self.add_to_piece(piece, input, Some(room));
        }
        self.gather(input);
        Ok(None)
    }

    /// Add bytes to a piece. Return its frame once it is whole.
    fn add_to_piece<'a>(
        &mut self,
        mut piece: PieceFrame,
        input: &mut Input<'_>,
        room: Option<Room<'_>>,
    ) -> Result<Option<Framed<'a>>, Error> {
        let whole = match lendable(piece.missing(), input) {
            Some(missing) => {
                self.lent = Some(piece.arrived() + input.bytes.len());
                input.lent = Some(piece.lend(missing));
                None
            }
            None => piece.take(input, room)?,
        };
        if whole.is_none() {
            self.piece = Some(piece);
        }
        Ok(whole.map(|length| Framed { length, ..Framed::new(EMPTY_STRING) }))
    }

    /// Take the memory that the adapter has filled.
    fn take_back(&mut self, input: &mut Input<'_>) -> Result<(), Error> {
        match (self.lent.take(), input.filled.take()) {
            (None, None) => {}
            (Some(_), Some(memory)) => {
                let (bytes, filled) = memory.into_parts();
                match &mut self.piece {
                    Some(piece) => piece.take_back(bytes, filled),
                    None => self.tail = bytes,
                }
            }
            (Some(_), None) | (None, Some(_)) => {
                let text = "the memory of a value was not returned to its connection";
                return Err(Error::new(ErrorKind::Protocol, text));
            }
        }
        Ok(())
    }

    /// Add bytes to the unfinished frame: those up to the end of its payload if that is known, else
    /// all.
    fn gather(&mut self, input: &mut Input<'_>) {
        let unread = self.tail.len() - self.start;
        let missing = self.scanner.wanted().saturating_sub(unread);
        if self.start == 0
            && self.tail.first().or_else(|| input.bytes.first()) == Some(&b'$')
            && let Some(missing) = lendable(missing, input)
        {
            let tail = std::mem::take(&mut self.tail);
            self.lent = Some(tail.len() + input.bytes.len());
            let total = Total::announced(tail.len() + missing + CRLF.len());
            input.lent = Some(ValueMemory::new(tail, missing, total));
            return;
        }
        let come = input.bytes.len();
        let own = if missing == 0 { come } else { missing.min(come) };
        let (bytes, rest) = input.bytes.split_at(own);
        input.bytes = rest;
        if missing > 0 {
            let total = Total::announced(self.tail.len() + missing);
            append(&mut self.tail, bytes, total);
        } else {
            self.tail.extend_from_slice(bytes);
        }
    }

    /// Return whether no byte of the next frame has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.tail.len()
            && self.skipped == 0
            && self.lent.is_none()
            && self.piece.is_none()
    }

    /// Return the number of bytes of the next frame that have arrived, unless it is a push.
    pub(super) fn length_of_unfinished_reply(&self) -> Option<usize> {
        if self.lent.is_some() {
            return self.lent;
        }
        if let Some(piece) = &self.piece {
            return Some(piece.arrived());
        }
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
        let (dropped, rest) = input.bytes.split_at(self.skipped.min(input.bytes.len()));
        input.bytes = rest;
        let before = self.skipped;
        self.skipped -= dropped.len();
        self.dropped += dropped.len();
        without_terminator(dropped, before).map(drop)
    }
}

/// Return how many of the `missing` bytes of a string the adapter may fill in: all but the
/// terminator. Return `None` if they are few, or if the input has all of them.
fn lendable(missing: usize, input: &Input<'_>) -> Option<usize> {
    let missing = missing.saturating_sub(CRLF.len());
    let lent_min = input.lent_min?.max(input.bytes.len() + 1);
    (missing >= lent_min).then_some(missing)
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

/// Limit the memory for an unfinished frame. The scanner limits each string, but a frame may hold
/// many.
fn check_unfinished(length: usize, unfinished_max: usize) -> Result<(), Error> {
    if length <= unfinished_max.saturating_add(OVERHEAD_MAX) {
        return Ok(());
    }
    let text = "a frame is longer than `value_max` for each value in it and 1 MiB";
    Err(Error::new(ErrorKind::Protocol, text))
}

#[cfg(test)]
mod tests;
