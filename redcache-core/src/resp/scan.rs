//! Finds the end of each frame in a byte stream.
//!
//! The scanner visits each byte of a connection once, however the bytes are split into reads. It
//! keeps its position and the number of missing elements of each open aggregate, and jumps over
//! payloads. It returns whole frames, in which every type, number, length and terminator has been
//! checked.

use super::{
    error::DecodeError,
    header::{self, Kind, NIL, VERBATIM_PREFIX},
    limits::Limits,
};

const CRLF: &[u8] = b"\r\n";

/// Finds the end of each frame in a byte stream, and resumes where it stopped.
///
/// # Examples
///
/// ```
/// use redcache_core::resp::{Limits, Scanner};
///
/// let mut scanner = Scanner::new(Limits::default());
/// assert_eq!(scanner.scan(b"$5\r\nhel"), Ok(None));
/// assert_eq!(scanner.wanted(), 11);
/// assert_eq!(scanner.scan(b"$5\r\nhello\r\n+OK\r\n"), Ok(Some(11)));
/// assert_eq!(scanner.scan(b"+OK\r\n"), Ok(Some(5)));
/// ```
#[derive(Clone, Debug)]
pub struct Scanner {
    limits: Limits,
    state: State,
    /// The start of the line or payload that is being read; everything before it is checked.
    start: usize,
    /// Elements announced so far in this frame.
    elements: usize,
    /// For every open aggregate, outermost first, the number of missing elements; never zero.
    lacking: Vec<usize>,
    /// The payload that has exceeded the limit.
    too_long: Option<TooLong>,
}

/// A payload that exceeds the limit, and where it is in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    /// The first byte of its header.
    pub(crate) header: usize,
    /// The first byte of the payload.
    pub(crate) start: usize,
    /// The bytes of the payload without its terminator.
    pub(crate) length: usize,
}

/// The next thing that the scanner waits for.
#[derive(Clone, Copy, Debug)]
enum State {
    /// The end of a line, of which the bytes before `seen` hold no CR or LF.
    Line { seen: usize },
    /// The end of a payload.
    Payload { end: usize, verbatim: bool },
    /// Nothing: the element that ends at `start` is complete.
    Element,
    /// Nothing: the stream is malformed.
    Failed(DecodeError),
}

/// The outcome of one step over the bytes.
enum Step {
    /// More bytes are needed.
    Starved,
    /// A header is read; its payload or its elements follow.
    Entered,
    /// An element is complete.
    Passed,
}

impl Scanner {
    /// Return a scanner at the first byte of a frame.
    pub fn new(limits: Limits) -> Self {
        let state = State::Line { seen: 0 };
        Self {
            limits: limits.clamped(),
            state,
            start: 0,
            elements: 0,
            lacking: Vec::new(),
            too_long: None,
        }
    }

    /// Return the length in bytes of the first frame in `bytes`; `None` if more bytes are needed.
    ///
    /// `bytes` starts at the first byte of the frame and only grows between calls until the frame
    /// is returned; then the scanner is at the start of the next frame.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not RESP3 or exceed the [`Limits`]. Every later call fails with the
    /// same error, because the start of the next frame is unknown.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        if let State::Line { seen: 0 } = self.state
            && let Some(length) = common(bytes, self.limits.bulk_max)
        {
            return Ok(Some(length));
        }
        self.resume(bytes)
    }

    /// Return the least number of bytes of the frame that are needed, counted from its start; 0 if
    /// unknown.
    ///
    /// The server announced this length within the limits, but may not send as many bytes, so a
    /// buffer should grow only as bytes arrive.
    pub fn wanted(&self) -> usize {
        match self.state {
            State::Payload { end, .. } => end + CRLF.len(),
            State::Line { .. } | State::Element | State::Failed(_) => 0,
        }
    }

    /// Leave the payload to the caller if the frame is a string of this length. Return the length
    /// of its header. The next scan then begins behind the string.
    pub(crate) fn leave_payload(&mut self, length: usize) -> Option<usize> {
        match self.state {
            State::Payload { end, verbatim: false }
                if self.lacking.is_empty() && self.start + length == end =>
            {
                self.state = State::Line { seen: 0 };
                self.elements = 0;
                Some(std::mem::take(&mut self.start))
            }
            _ => None,
        }
    }

    /// Change the limit of the payloads whose headers have not been read.
    pub(crate) fn set_bulk_max(&mut self, bulk_max: usize) {
        self.limits = Limits { bulk_max, ..self.limits }.clamped();
    }

    /// Return the payload for which the scan has failed with [`DecodeError::BulkTooLong`].
    pub(crate) fn too_long(&self) -> Option<TooLong> {
        self.too_long
    }

    /// Continue after the element that replaces an overlong payload and ends at `end`.
    pub(crate) fn on_replaced(&mut self, end: usize) {
        if self.too_long.take().is_some() {
            self.start = end;
            self.state = State::Element;
        }
    }

    /// Continue the scan, and prepare for the next frame at the end of this one.
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

    /// Continue the scan to the end of the frame or of the bytes.
    fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        loop {
            let step = match self.state {
                State::Line { seen } if seen == self.start => self.element(bytes)?,
                State::Line { seen } => self.line(bytes, seen)?,
                State::Payload { end, verbatim } => self.payload(bytes, end, verbatim)?,
                State::Element => self.pass_to(self.start),
                State::Failed(error) => return Err(error),
            };
            match step {
                Step::Starved => return Ok(None),
                Step::Entered => {}
                Step::Passed => {
                    if self.close() {
                        return Ok(Some(self.start));
                    }
                }
            }
        }
    }

    /// Read the element at `start`, from its first byte.
    #[inline]
    fn element(&mut self, bytes: &[u8]) -> Result<Step, DecodeError> {
        let unread = bytes.get(self.start..).unwrap_or_default();
        match common(unread, self.limits.bulk_max) {
            Some(length) => Ok(self.pass_to(self.start + length)),
            None => self.line(bytes, self.start),
        }
    }

    /// Read the line at `start` as far as it has arrived. Its bytes before `seen` were read before.
    fn line(&mut self, bytes: &[u8], seen: usize) -> Result<Step, DecodeError> {
        let Some(&byte) = bytes.get(self.start) else {
            return Ok(Step::Starved);
        };
        let kind = match Kind::of(byte) {
            None => return Err(DecodeError::UnknownType),
            Some(Kind::Streamed) => return Err(DecodeError::Streamed),
            Some(Kind::Push) if !self.lacking.is_empty() => return Err(DecodeError::NestedPush),
            Some(kind) => kind,
        };
        let text = self.start + 1;
        let Some(end) = self.line_end(bytes, text, seen.max(text))? else {
            return Ok(Step::Starved);
        };
        self.start = end + CRLF.len();
        self.header(kind, &bytes[text..end])
    }

    /// Find the CR that ends the line whose text starts at `text`, from `seen` on.
    fn line_end(
        &mut self,
        bytes: &[u8],
        text: usize,
        seen: usize,
    ) -> Result<Option<usize>, DecodeError> {
        // One byte more than the longest text, because its CR may come last.
        let within = text.saturating_add(self.limits.line_max).saturating_add(1).min(bytes.len());
        let unseen = bytes.get(seen..within).unwrap_or_default();
        // Lines are nearly always too short for a wordwise search to be faster.
        let Some(length) = unseen.iter().position(|&byte| byte == b'\r' || byte == b'\n') else {
            if within - text > self.limits.line_max {
                return Err(DecodeError::LineTooLong);
            }
            self.state = State::Line { seen: within };
            return Ok(None);
        };
        let end = seen + length;
        match bytes[end..] {
            [b'\r', b'\n', ..] => Ok(Some(end)),
            [b'\r'] => {
                self.state = State::Line { seen: end };
                Ok(None)
            }
            _ => Err(DecodeError::LineEnd),
        }
    }

    /// Interpret a whole line, which ends before `start`.
    fn header(&mut self, kind: Kind, text: &[u8]) -> Result<Step, DecodeError> {
        let sound = match kind {
            Kind::Bulk | Kind::Array if text == NIL => Ok(()),
            Kind::Bulk | Kind::BlobError => return self.enter_payload(text, false),
            Kind::Verbatim => return self.enter_payload(text, true),
            Kind::Array | Kind::Set | Kind::Push => return self.open(count(text)?),
            Kind::Map => return self.open(count(text)?.saturating_mul(2)),
            // The frame that an attribute belongs to counts as its last element, so that both pass
            // as one.
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
        sound.map(|()| self.pass_to(self.start))
    }

    /// Interpret the header of a payload that starts at `start`.
    fn enter_payload(&mut self, text: &[u8], verbatim: bool) -> Result<Step, DecodeError> {
        let length = count(text)?;
        if length > self.limits.bulk_max {
            let header = self.start - CRLF.len() - text.len() - 1;
            self.too_long = Some(TooLong { header, start: self.start, length });
            return Err(DecodeError::BulkTooLong);
        }
        if verbatim && length < VERBATIM_PREFIX {
            return Err(DecodeError::Verbatim);
        }
        self.state = State::Payload { end: self.start + length, verbatim };
        Ok(Step::Entered)
    }

    /// Skip the payload from `start` to `end`, if all of it has arrived.
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
        Ok(self.pass_to(next))
    }

    /// Interpret the header of an aggregate.
    fn open(&mut self, elements: usize) -> Result<Step, DecodeError> {
        if self.lacking.len() == self.limits.depth_max {
            return Err(DecodeError::TooDeep);
        }
        self.elements = self.elements.saturating_add(elements);
        if self.elements > self.limits.elements_max {
            return Err(DecodeError::TooManyElements);
        }
        let step = self.pass_to(self.start);
        if elements == 0 {
            return Ok(step);
        }
        self.lacking.push(elements);
        Ok(Step::Entered)
    }

    /// Skip an element or header. The next line starts at `next`.
    #[inline]
    fn pass_to(&mut self, next: usize) -> Step {
        self.start = next;
        self.state = State::Line { seen: next };
        Step::Passed
    }

    /// Count an element, and every aggregate that it completes. Return whether the frame is whole.
    #[inline]
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

/// Return the length of the first element of `bytes` if it is whole and of a frequent type.
///
/// After `None`, the general path decides: it accepts everything that this function accepts.
/// Without this function, a short reply takes twice the time.
#[inline]
fn common(bytes: &[u8], bulk_max: usize) -> Option<usize> {
    let (&kind, rest) = bytes.split_first()?;
    let rest = match kind {
        b'$' => {
            let (length, rest) = header::short_number(rest)?;
            let length = usize::try_from(length).ok().filter(|&length| length <= bulk_max)?;
            rest.get(length..)?.strip_prefix(CRLF)?
        }
        b':' => header::short_number(rest)?.1,
        b'_' => rest.strip_prefix(CRLF)?,
        b'+' => rest.strip_prefix(b"OK\r\n")?,
        _ => return None,
    };
    Some(bytes.len() - rest.len())
}

/// Read a length or an element count.
fn count(text: &[u8]) -> Result<usize, DecodeError> {
    match header::length(text) {
        Some(length) => Ok(length),
        None if text == b"?" => Err(DecodeError::Streamed),
        None => Err(DecodeError::Length),
    }
}

#[cfg(test)]
mod tests;
