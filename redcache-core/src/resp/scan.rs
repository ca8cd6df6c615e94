//! Where a frame ends.
//!
//! The scanner walks over the bytes of a connection once, however they are cut into reads, and keeps only where it is and how
//! many elements each open aggregate still lacks. It jumps over payloads. What it lets through is a whole frame in which every
//! type, length, number and terminator has been checked, so nothing behind it has to be careful again.

use thiserror::Error;

use super::header::{self, Kind, NIL, VERBATIM_PREFIX};

/// The deepest nesting that any configuration may allow: decoding and dropping a frame use the stack.
pub(super) const DEPTH_CEILING: usize = 128;

/// The largest payload that any configuration may allow: a server's own `proto-max-bulk-len`.
const BULK_CEILING: usize = 512 << 20;

const CRLF: &[u8] = b"\r\n";

/// Bounds what one frame of the server may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Aggregates within one another, at most; never more than 128. An attribute counts as one.
    pub depth_max: usize,
    /// Elements of all aggregates of a frame together, at most; a map entry counts as two.
    pub elements_max: usize,
    /// Bytes of one bulk string, at most; never more than 512 MiB.
    pub bulk_max: usize,
    /// Bytes of one line without its type byte and terminator, at most.
    pub line_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 32,
            elements_max: 1 << 20,
            bulk_max: 64 << 20,
            line_max: 64 << 10,
        }
    }
}

/// Tells why bytes of the server are not RESP3, or more of it than allowed.
///
/// It never holds any of those bytes. The connection is out of step from then on and of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A frame starts with a byte that names no type.
    #[error("unknown frame type")]
    UnknownType,
    /// A frame of unknown length, which servers do not send.
    #[error("streamed frame")]
    Streamed,
    /// A push stands inside another frame.
    #[error("push inside another frame")]
    NestedPush,
    /// A length or element count is not a plain decimal number.
    #[error("malformed length")]
    Length,
    /// An integer is not a plain decimal number of 64 bits.
    #[error("malformed integer")]
    Integer,
    /// A double is not a number.
    #[error("malformed double")]
    Double,
    /// A big number is not a decimal number.
    #[error("malformed big number")]
    BigNumber,
    /// A boolean is neither true nor false.
    #[error("malformed boolean")]
    Boolean,
    /// A null carries text.
    #[error("malformed null")]
    Null,
    /// A verbatim string does not name its format.
    #[error("malformed verbatim string")]
    Verbatim,
    /// A line holds a CR or LF that does not end it.
    #[error("stray CR or LF in a line")]
    LineEnd,
    /// A payload is not followed by CRLF.
    #[error("payload not terminated by CRLF")]
    PayloadEnd,
    /// A line exceeds [`Limits::line_max`].
    #[error("line longer than the limit")]
    LineTooLong,
    /// A payload exceeds [`Limits::bulk_max`].
    #[error("bulk string longer than the limit")]
    BulkTooLong,
    /// A frame exceeds [`Limits::elements_max`].
    #[error("more elements than the limit")]
    TooManyElements,
    /// A frame exceeds [`Limits::depth_max`].
    #[error("nested deeper than the limit")]
    TooDeep,
    /// Bytes that were to be decoded end before their frame does.
    #[error("frame is not whole")]
    Truncated,
    /// Bytes that were to be decoded go on after their frame.
    #[error("bytes after the frame")]
    Trailing,
}

/// Finds where the frames in a stream of bytes end, and resumes where it stopped.
#[derive(Clone, Debug)]
pub struct Scanner {
    limits: Limits,
    state: State,
    /// Where the line or payload being read starts; all before it is checked.
    start: usize,
    /// Elements announced so far in this frame.
    elements: usize,
    /// For every open aggregate, outermost first, how many elements it lacks; never zero.
    lacking: Vec<usize>,
}

/// What the scanner waits for.
#[derive(Clone, Copy, Debug)]
enum State {
    /// The end of a line, of which the bytes before `seen` hold no CR or LF.
    Line { seen: usize },
    /// The end of a payload.
    Payload { end: usize, verbatim: bool },
    /// Nothing: the stream is out of step.
    Failed(DecodeError),
}

/// What a look at the bytes came to.
enum Step {
    /// More bytes are needed.
    Starved,
    /// A header is read and its payload or its elements follow.
    Entered,
    /// An element is complete.
    Passed,
}

impl Scanner {
    /// Returns a scanner that stands before the first byte of a frame.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            depth_max: limits.depth_max.min(DEPTH_CEILING),
            bulk_max: limits.bulk_max.min(BULK_CEILING),
            ..limits
        };
        Self {
            limits,
            state: State::Line { seen: 0 },
            start: 0,
            elements: 0,
            lacking: Vec::new(),
        }
    }

    /// Returns the length in bytes of the first frame in `bytes`, or `None` when more bytes are needed.
    ///
    /// `bytes` starts at the first byte of the frame and only grows between calls until the frame is returned; then the
    /// scanner stands before the next frame.
    ///
    /// # Errors
    ///
    /// Fails when the bytes are not RESP3 or exceed the [`Limits`], and from then on always in the same way: where the next
    /// frame starts is unknown.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        if let State::Line { seen: 0 } = self.state
            && let Some(length) = common(bytes, self.limits.bulk_max)
        {
            return Ok(Some(length));
        }
        self.resume(bytes)
    }

    /// Walks on, and gets ready for the next frame at the end of this one.
    fn resume(&mut self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        let scanned = self.advance(bytes);
        match scanned {
            Ok(None) => {}
            Ok(Some(_)) => {
                self.state = State::Line { seen: 0 };
                self.start = 0;
                self.elements = 0;
            }
            Err(error) => self.state = State::Failed(error),
        }
        scanned
    }

    /// Returns how many bytes from the start of the frame are needed at least, 0 when that is not known.
    ///
    /// This is what the server announced, within the limits, not what it sent: grow a buffer towards it as bytes arrive.
    pub fn wanted(&self) -> usize {
        match self.state {
            State::Payload { end, .. } => end + CRLF.len(),
            State::Line { .. } | State::Failed(_) => 0,
        }
    }

    /// Walks on to the end of the frame or of the bytes.
    fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        loop {
            let step = match self.state {
                State::Line { seen } if seen == self.start => self.element(bytes)?,
                State::Line { seen } => self.line(bytes, seen)?,
                State::Payload { end, verbatim } => self.payload(bytes, end, verbatim)?,
                State::Failed(error) => return Err(error),
            };
            match step {
                Step::Starved => return Ok(None),
                Step::Entered => {}
                Step::Passed if self.close() => return Ok(Some(self.start)),
                Step::Passed => {}
            }
        }
    }

    /// Reads what starts at `start`, of which nothing has been read yet.
    #[inline]
    fn element(&mut self, bytes: &[u8]) -> Result<Step, DecodeError> {
        let unread = bytes.get(self.start..).unwrap_or_default();
        let Some(length) = common(unread, self.limits.bulk_max) else {
            return self.line(bytes, self.start);
        };
        self.start += length;
        self.state = State::Line { seen: self.start };
        Ok(Step::Passed)
    }

    /// Reads the line at `start`, or as much of it as there is.
    fn line(&mut self, bytes: &[u8], seen: usize) -> Result<Step, DecodeError> {
        let Some(&byte) = bytes.get(self.start) else {
            return Ok(Step::Starved);
        };
        let kind = match Kind::of(byte).ok_or(DecodeError::UnknownType)? {
            Kind::Streamed => return Err(DecodeError::Streamed),
            Kind::Push if !self.lacking.is_empty() => return Err(DecodeError::NestedPush),
            kind => kind,
        };
        let text = self.start + 1;
        let Some(end) = self.line_end(bytes, text, seen.max(text))? else {
            return Ok(Step::Starved);
        };
        let line = &bytes[text..end];
        self.start = end + CRLF.len();
        self.state = State::Line { seen: self.start };
        self.header(kind, line)
    }

    /// Finds the CR that ends the line whose text starts at `text`, looking only at bytes from `seen` on.
    fn line_end(
        &mut self,
        bytes: &[u8],
        text: usize,
        seen: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let within = bytes
            .len()
            .min(text.saturating_add(self.limits.line_max).saturating_add(1));
        let unseen = bytes.get(seen..within).unwrap_or_default();
        // Lines are nearly always shorter than what it takes to set up a wider search.
        let Some(length) = unseen
            .iter()
            .position(|&byte| byte == b'\r' || byte == b'\n')
        else {
            self.state = State::Line { seen: within };
            let too_long = within - text > self.limits.line_max;
            return if too_long {
                Err(DecodeError::LineTooLong)
            } else {
                Ok(None)
            };
        };
        let end = seen + length;
        match bytes.get(end + 1) {
            _ if bytes[end] == b'\n' => Err(DecodeError::LineEnd),
            Some(b'\n') => Ok(Some(end)),
            Some(_) => Err(DecodeError::LineEnd),
            None => {
                self.state = State::Line { seen: end };
                Ok(None)
            }
        }
    }

    /// Takes in the text of a whole line.
    fn header(&mut self, kind: Kind, text: &[u8]) -> Result<Step, DecodeError> {
        let sound = match kind {
            Kind::Bulk | Kind::Array if text == NIL => Ok(()),
            Kind::Bulk | Kind::BlobError => return self.enter_payload(text, false),
            Kind::Verbatim => return self.enter_payload(text, true),
            Kind::Array | Kind::Set | Kind::Push => return self.open(count(text)?),
            Kind::Map => return self.open(count(text)?.saturating_mul(2)),
            // The frame that an attribute belongs to is taken as its last element, so the two pass as one.
            Kind::Attribute => return self.open(count(text)?.saturating_mul(2).saturating_add(1)),
            Kind::Simple | Kind::Error => Ok(()),
            Kind::Integer => header::integer(text).map(drop).ok_or(DecodeError::Integer),
            Kind::Double => header::double(text).map(drop).ok_or(DecodeError::Double),
            Kind::Boolean => header::boolean(text).map(drop).ok_or(DecodeError::Boolean),
            Kind::BigNumber if header::is_big_number(text) => Ok(()),
            Kind::BigNumber => Err(DecodeError::BigNumber),
            Kind::Null if text.is_empty() => Ok(()),
            Kind::Null => Err(DecodeError::Null),
            Kind::Streamed => Err(DecodeError::Streamed),
        };
        sound.map(|()| Step::Passed)
    }

    /// Takes in the header of a payload, which starts at `start`.
    fn enter_payload(&mut self, text: &[u8], verbatim: bool) -> Result<Step, DecodeError> {
        let length = count(text)?;
        if length > self.limits.bulk_max {
            return Err(DecodeError::BulkTooLong);
        }
        if verbatim && length < VERBATIM_PREFIX {
            return Err(DecodeError::Verbatim);
        }
        self.state = State::Payload {
            end: self.start + length,
            verbatim,
        };
        Ok(Step::Entered)
    }

    /// Passes over the payload from `start` to `end`, if it is all there.
    fn payload(&mut self, bytes: &[u8], end: usize, verbatim: bool) -> Result<Step, DecodeError> {
        let next = end + CRLF.len();
        let Some(terminator) = bytes.get(end..next) else {
            return Ok(Step::Starved);
        };
        if terminator != CRLF {
            return Err(DecodeError::PayloadEnd);
        }
        if verbatim && bytes[self.start + VERBATIM_PREFIX - 1] != b':' {
            return Err(DecodeError::Verbatim);
        }
        self.start = next;
        self.state = State::Line { seen: next };
        Ok(Step::Passed)
    }

    /// Opens an aggregate.
    fn open(&mut self, elements: usize) -> Result<Step, DecodeError> {
        if self.lacking.len() == self.limits.depth_max {
            return Err(DecodeError::TooDeep);
        }
        self.elements = self.elements.saturating_add(elements);
        if self.elements > self.limits.elements_max {
            return Err(DecodeError::TooManyElements);
        }
        if elements == 0 {
            return Ok(Step::Passed);
        }
        self.lacking.push(elements);
        Ok(Step::Entered)
    }

    /// Counts a complete element, and with it every aggregate that it completes; tells whether the frame is whole.
    fn close(&mut self) -> bool {
        while let Some(lacking) = self.lacking.last_mut() {
            *lacking -= 1;
            if *lacking > 0 {
                return false;
            }
            self.lacking.pop();
        }
        true
    }
}

/// Returns the length of the element at the front of `bytes` if it is whole and of a common type.
///
/// `None` says nothing about the bytes: they are then read the long way, which accepts all that this does.
#[inline]
fn common(bytes: &[u8], bulk_max: usize) -> Option<usize> {
    let (&kind, rest) = bytes.split_first()?;
    let rest = match kind {
        b'$' => {
            let (length, rest) = header::short_number(rest)?;
            let length = usize::try_from(length).ok().filter(|&length| length <= bulk_max)?;
            rest.get(length..)?.strip_prefix(b"\r\n")?
        }
        b':' => header::short_number(rest)?.1,
        b'_' => rest.strip_prefix(b"\r\n")?,
        b'+' => rest.strip_prefix(b"OK\r\n")?,
        _ => return None,
    };
    Some(bytes.len() - rest.len())
}

/// Reads a length or an element count.
fn count(text: &[u8]) -> Result<usize, DecodeError> {
    match header::length(text) {
        Some(length) => Ok(length),
        None if text == b"?" => Err(DecodeError::Streamed),
        None => Err(DecodeError::Length),
    }
}
