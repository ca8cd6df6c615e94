//! Where a frame ends.
//!
//! The scanner walks over the bytes of a connection once, however they are cut into reads, and keeps
//! only where it is and how many elements each open aggregate still lacks. It jumps over payloads. What
//! it lets through is a whole frame in which every type, number, length and terminator has been checked.

use super::{
    error::DecodeError,
    header::{self, Kind, NIL, VERBATIM_PREFIX},
};

/// The deepest nesting that any configuration may allow: decoding and dropping a frame use the stack.
pub(super) const DEPTH_CEILING: usize = 128;

/// The longest payload that any configuration may allow: what servers themselves allow.
const BULK_CEILING: usize = 512 << 20;

/// The shortest line that every configuration allows, so that any number fits.
const LINE_FLOOR: usize = 32;

const CRLF: &[u8] = b"\r\n";

/// Bounds what one frame of the server may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Aggregates within one another, at most; never more than 128. An attribute counts as one.
    pub depth_max: usize,
    /// Elements of all aggregates of a frame together, at most; a map entry counts as two.
    pub elements_max: usize,
    /// Bytes of one payload, at most; never more than 512 MiB.
    pub bulk_max: usize,
    /// Bytes of one line without its type byte and terminator, at most; never less than 32.
    pub line_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 32, elements_max: 1 << 20, bulk_max: 64 << 20, line_max: 64 << 10 }
    }
}

/// Finds where the frames in a stream of bytes end, and resumes where it stopped.
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
    /// A header is read; its payload or its elements follow.
    Entered,
    /// An element is complete.
    Passed,
}

impl Scanner {
    /// Returns a scanner that stands before the first byte of a frame.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            depth_max: limits.depth_max.min(DEPTH_CEILING),
            elements_max: limits.elements_max,
            bulk_max: limits.bulk_max.min(BULK_CEILING),
            line_max: limits.line_max.max(LINE_FLOOR),
        };
        let state = State::Line { seen: 0 };
        Self { limits, state, start: 0, elements: 0, lacking: Vec::new() }
    }

    /// Returns the length in bytes of the first frame in `bytes`, `None` when more bytes are needed.
    ///
    /// `bytes` starts at the first byte of the frame and only grows between calls until the frame is
    /// returned; then the scanner stands before the next frame.
    ///
    /// # Errors
    ///
    /// Fails when the bytes are not RESP3 or exceed the [`Limits`], and from then on always with the
    /// same error: where the next frame starts is unknown.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        if let State::Line { seen: 0 } = self.state
            && let Some(length) = common(bytes, self.limits.bulk_max)
        {
            return Ok(Some(length));
        }
        self.resume(bytes)
    }

    /// Returns how many bytes from the start of the frame are needed at least, 0 when not known.
    ///
    /// This is what the server announced, within the limits, and not what it sent: let a buffer grow
    /// towards it as bytes arrive.
    pub fn wanted(&self) -> usize {
        match self.state {
            State::Payload { end, .. } => end + CRLF.len(),
            State::Line { .. } | State::Failed(_) => 0,
        }
    }

    /// Walks on, and at the end of the frame gets ready for the next.
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
                Step::Passed => {
                    if self.close() {
                        return Ok(Some(self.start));
                    }
                }
            }
        }
    }

    /// Reads what starts at `start`, of which nothing has been read yet.
    #[inline]
    fn element(&mut self, bytes: &[u8]) -> Result<Step, DecodeError> {
        let unread = bytes.get(self.start..).unwrap_or_default();
        match common(unread, self.limits.bulk_max) {
            Some(length) => Ok(self.pass_to(self.start + length)),
            None => self.line(bytes, self.start),
        }
    }

    /// Reads the line at `start`, whose bytes before `seen` are known, or as much of it as there is.
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

    /// Finds the CR that ends the line whose text starts at `text`, looking only from `seen` on.
    fn line_end(
        &mut self,
        bytes: &[u8],
        text: usize,
        seen: usize,
    ) -> Result<Option<usize>, DecodeError> {
        // One byte more than the longest text, because its CR may come last.
        let within = text.saturating_add(self.limits.line_max).saturating_add(1).min(bytes.len());
        let unseen = bytes.get(seen..within).unwrap_or_default();
        // Lines are nearly always shorter than what it takes to set up a search by words.
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

    /// Takes in a whole line, behind which is `start`.
    fn header(&mut self, kind: Kind, text: &[u8]) -> Result<Step, DecodeError> {
        let sound = match kind {
            Kind::Bulk | Kind::Array if text == NIL => Ok(()),
            Kind::Bulk | Kind::BlobError => return self.enter_payload(text, false),
            Kind::Verbatim => return self.enter_payload(text, true),
            Kind::Array | Kind::Set | Kind::Push => return self.open(count(text)?),
            Kind::Map => return self.open(count(text)?.saturating_mul(2)),
            // The frame that an attribute belongs to is its last element, so that both pass as one.
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

    /// Takes in the header of a payload that starts at `start`.
    fn enter_payload(&mut self, text: &[u8], verbatim: bool) -> Result<Step, DecodeError> {
        let length = count(text)?;
        if length > self.limits.bulk_max {
            return Err(DecodeError::BulkTooLong);
        }
        if verbatim && length < VERBATIM_PREFIX {
            return Err(DecodeError::Verbatim);
        }
        self.state = State::Payload { end: self.start + length, verbatim };
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
        Ok(self.pass_to(next))
    }

    /// Takes in the header of an aggregate.
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

    /// Leaves an element or header behind: the next line starts at `next`.
    #[inline]
    fn pass_to(&mut self, next: usize) -> Step {
        self.start = next;
        self.state = State::Line { seen: next };
        Step::Passed
    }

    /// Counts an element, and every aggregate that it completes; tells whether the frame is whole.
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

/// Returns the length of the element at the front of `bytes` if it is whole and of a type that replies
/// are mostly made of.
///
/// `None` says nothing about the bytes: the long way round, which accepts all that this does, has the
/// last word. Without this a short reply takes twice the time.
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

/// Reads a length or an element count.
fn count(text: &[u8]) -> Result<usize, DecodeError> {
    match header::length(text) {
        Some(length) => Ok(length),
        None if text == b"?" => Err(DecodeError::Streamed),
        None => Err(DecodeError::Length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Scanned = Result<Option<usize>, DecodeError>;

    /// Scans `bytes` at once and byte by byte, and expects the same of both.
    #[track_caller]
    fn check_within(limits: Limits, bytes: &[u8], expected: Scanned) {
        let text = bytes[..bytes.len().min(80)].escape_ascii();
        assert_eq!(Scanner::new(limits).scan(bytes), expected, "{text}");
        let mut scanner = Scanner::new(limits);
        let first = (0..=bytes.len()).find_map(|end| match scanner.scan(&bytes[..end]) {
            Ok(None) => None,
            scanned => Some(scanned),
        });
        assert_eq!(first.unwrap_or(Ok(None)), expected, "{text}, byte by byte");
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Scanned) {
        check_within(Limits::default(), bytes, expected);
    }

    #[test]
    fn every_frame_is_whole_at_its_last_byte_and_not_before() {
        let frames: [&[u8]; 28] = [
            b"+\r\n",
            b"+OK\r\n",
            b"+OKAY\r\n",
            b"-ERR no\r\n",
            b":0\r\n",
            b":-2\r\n",
            b":1234567890123456789\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"$4\r\n\r\n>1\r\n",
            b"!3\r\nERR\r\n",
            b"=7\r\ntxt:a\r\n\r\n",
            b"=4\r\nmkd:\r\n",
            b"_\r\n",
            b"#t\r\n",
            b"#f\r\n",
            b",-1.5e3\r\n",
            b",nan\r\n",
            b"(-12345678901234567890\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            b"*2\r\n*0\r\n*1\r\n$-1\r\n",
            b"~2\r\n:1\r\n:1\r\n",
            b"%1\r\n*1\r\n:1\r\n%0\r\n",
            b">2\r\n$10\r\ninvalidate\r\n_\r\n",
            b"|1\r\n+ttl\r\n:9\r\n$1\r\nv\r\n",
            b"*2\r\n|1\r\n+ttl\r\n:9\r\n:1\r\n:2\r\n",
            b"|0\r\n|0\r\n:1\r\n",
        ];
        for frame in frames {
            check(frame, Ok(Some(frame.len())));
            check(&frame[..frame.len() - 1], Ok(None));
            check(&[frame, b"anything"].concat(), Ok(Some(frame.len())));
        }
    }

    #[test]
    fn malformed_bytes_are_named() {
        use DecodeError::*;
        let cases: [(&[u8], DecodeError); 50] = [
            (b"H", UnknownType),
            (b"\r\n", UnknownType),
            (b"*1\r\nx", UnknownType),
            (b"$?\r\n", Streamed),
            (b"*?\r\n", Streamed),
            (b"~?\r\n", Streamed),
            (b"%?\r\n", Streamed),
            (b">?\r\n", Streamed),
            (b"|?\r\n", Streamed),
            (b";", Streamed),
            (b".", Streamed),
            (b"*1\r\n>", NestedPush),
            (b"|0\r\n>", NestedPush),
            (b"|1\r\n>", NestedPush),
            (b"$\r\n", Length),
            (b"$-2\r\n", Length),
            (b"*-2\r\n", Length),
            (b"!-1\r\n", Length),
            (b"=-1\r\n", Length),
            (b"~-1\r\n", Length),
            (b"%-1\r\n", Length),
            (b">-1\r\n", Length),
            (b"|-1\r\n", Length),
            (b"$+1\r\n", Length),
            (b"$01\r\n", Length),
            (b"*00\r\n", Length),
            (b"$1 \r\n", Length),
            (b"$0x1\r\n", Length),
            (b"$18446744073709551616\r\n", Length),
            (b"*18446744073709551616\r\n", Length),
            (b":\r\n", Integer),
            (b":+1\r\n", Integer),
            (b":01\r\n", Integer),
            (b":9223372036854775808\r\n", Integer),
            (b",\r\n", Double),
            (b",1,5\r\n", Double),
            (b"(\r\n", BigNumber),
            (b"(1a\r\n", BigNumber),
            (b"#T\r\n", Boolean),
            (b"#\r\n", Boolean),
            (b"_x\r\n", Null),
            (b"=3\r\n", Verbatim),
            (b"=4\r\nabcd\r\n", Verbatim),
            (b"+a\n", LineEnd),
            (b"+a\rb", LineEnd),
            (b"$1\n", LineEnd),
            (b"$3\r\nabcXX", PayloadEnd),
            (b"$3\r\nabc\rX", PayloadEnd),
            (b"$3\r\nabc\n\n", PayloadEnd),
            (b"=4\r\nabc:\r\r", PayloadEnd),
        ];
        for (bytes, expected) in cases {
            check(bytes, Err(expected));
        }
    }

    #[test]
    fn depth_bomb_is_refused_at_the_first_level_too_many() {
        for layer in [b"*1\r\n".as_slice(), b"%1\r\n", b"~1\r\n", b"|0\r\n"] {
            check(&layer.repeat(100_000), Err(DecodeError::TooDeep));
        }
        check(&[&b"*1\r\n".repeat(32), b":1\r\n".as_slice()].concat(), Ok(Some(132)));
        check(&b"*1\r\n".repeat(32), Ok(None));
        check(&b"*1\r\n".repeat(33), Err(DecodeError::TooDeep));
        check(&[&b"*1\r\n".repeat(32), b"*0\r\n".as_slice()].concat(), Err(DecodeError::TooDeep));
    }

    #[test]
    fn announced_lengths_are_bounded_and_allocate_nothing() {
        check(b"$9223372036854775807\r\n", Err(DecodeError::BulkTooLong));
        check(b"!9223372036854775807\r\n", Err(DecodeError::BulkTooLong));
        check(b"=9223372036854775807\r\n", Err(DecodeError::BulkTooLong));
        check(b"*9223372036854775807\r\n", Err(DecodeError::TooManyElements));
        check(b"%9223372036854775807\r\n", Err(DecodeError::TooManyElements));
        check(b"|9223372036854775807\r\n", Err(DecodeError::TooManyElements));
        check(b"$67108864\r\n", Ok(None));
        check(b"$67108865\r\n", Err(DecodeError::BulkTooLong));
        check(b"*1048577\r\n", Err(DecodeError::TooManyElements));

        let mut scanner = Scanner::new(Limits::default());
        assert_eq!(scanner.scan(b"*1048576\r\n"), Ok(None));
        assert!(scanner.lacking.capacity() < 10, "room for {}", scanner.lacking.capacity());
    }

    #[test]
    fn elements_are_counted_over_the_whole_frame() {
        let limits = Limits { elements_max: 6, ..Limits::default() };
        let of = |bytes: &[u8], expected| check_within(limits, bytes, expected);
        of(b"*6\r\n", Ok(None));
        of(b"*7\r\n", Err(DecodeError::TooManyElements));
        of(b"%3\r\n", Ok(None));
        of(b"%4\r\n", Err(DecodeError::TooManyElements));
        of(b"|2\r\n", Ok(None));
        of(b"|3\r\n", Err(DecodeError::TooManyElements));
        of(b"*2\r\n*2\r\n:1\r\n:1\r\n*2\r\n:1\r\n:1\r\n", Ok(Some(28)));
        of(b"*2\r\n*2\r\n:1\r\n:1\r\n*3\r\n", Err(DecodeError::TooManyElements));

        // Every frame starts from nothing.
        let mut scanner = Scanner::new(limits);
        for _ in 0..3 {
            assert_eq!(scanner.scan(b"*5\r\n_\r\n_\r\n_\r\n_\r\n_\r\n"), Ok(Some(19)));
        }
    }

    #[test]
    fn longest_line_counts_neither_type_nor_terminator() {
        let limits = Limits { line_max: 40, ..Limits::default() };
        let line = [b"+".as_slice(), &[b'x'; 40]].concat();
        check_within(limits, &line, Ok(None));
        check_within(limits, &[&line, b"\r\n".as_slice()].concat(), Ok(Some(43)));
        check_within(limits, &[&line, b"\n".as_slice()].concat(), Err(DecodeError::LineEnd));
        check_within(limits, &[&line, b"x".as_slice()].concat(), Err(DecodeError::LineTooLong));
        check_within(limits, &[&line, b"x\r\n".as_slice()].concat(), Err(DecodeError::LineTooLong));
        check(&[b'$'].iter().chain(&[b'1'; 65536]).copied().collect::<Vec<_>>(), Ok(None));
        check(
            &[b'$'].iter().chain(&[b'1'; 65537]).copied().collect::<Vec<_>>(),
            Err(DecodeError::LineTooLong),
        );
    }

    #[test]
    fn longest_payload_counts_no_terminator() {
        let limits = Limits { bulk_max: 5, ..Limits::default() };
        check_within(limits, b"$5\r\nhello\r\n", Ok(Some(11)));
        check_within(limits, b"$6\r\nhellos\r\n", Err(DecodeError::BulkTooLong));
        check_within(limits, b"=6\r\n", Err(DecodeError::BulkTooLong));
    }

    #[test]
    fn no_configuration_lifts_the_last_limits() {
        let boundless = Limits {
            depth_max: usize::MAX,
            elements_max: usize::MAX,
            bulk_max: usize::MAX,
            line_max: usize::MAX,
        };
        check_within(boundless, &b"*1\r\n".repeat(128), Ok(None));
        check_within(boundless, &b"*1\r\n".repeat(129), Err(DecodeError::TooDeep));
        check_within(boundless, b"$536870912\r\n", Ok(None));
        check_within(boundless, b"$536870913\r\n", Err(DecodeError::BulkTooLong));
        check_within(boundless, b"%9999999999999999999\r\n", Ok(None));

        let nothing = Limits { depth_max: 0, elements_max: 0, bulk_max: 0, line_max: 0 };
        check_within(nothing, b":-9223372036854775808\r\n", Ok(Some(23)));
        check_within(nothing, b"$0\r\n\r\n", Ok(Some(6)));
        check_within(nothing, b"*0\r\n", Err(DecodeError::TooDeep));
    }

    #[test]
    fn scanner_that_failed_fails_for_ever() {
        for (bytes, error) in [
            (b"H".as_slice(), DecodeError::UnknownType),
            (b"*1\r\n>", DecodeError::NestedPush),
            (b"$1\r\nabc", DecodeError::PayloadEnd),
        ] {
            let mut scanner = Scanner::new(Limits::default());
            assert_eq!(scanner.scan(bytes), Err(error));
            assert_eq!(scanner.scan(b"+OK\r\n"), Err(error));
            assert_eq!(scanner.scan(b"$1\r\n+OK\r\n"), Err(error));
            assert_eq!(scanner.wanted(), 0);
        }
    }

    #[test]
    fn no_byte_is_looked_at_twice() {
        // What was read is spoilt before more arrives, which only a second look would notice. The type
        // of an unfinished line is the one byte that every read looks at again, and so is its CR.
        for (bytes, read, spoilt) in [
            (b"+abcdef\r\n".as_slice(), 4, 1..4),
            (b"+abcdef\r\n", 8, 1..7),
            (b"$5\r\nhello\r\n", 4, 0..4),
            (b"$5\r\nhello\r\n", 10, 0..9),
            (b"*2\r\n$-1\r\n:-1\r\n", 9, 0..9),
            (b"*2\r\n*1\r\n_\r\n:-1\r\n", 13, 0..11),
        ] {
            let mut scanner = Scanner::new(Limits::default());
            assert_eq!(scanner.scan(&bytes[..read]), Ok(None));
            let mut grown = bytes.to_vec();
            grown[spoilt].fill(b'\n');
            assert_eq!(scanner.scan(&grown), Ok(Some(bytes.len())), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn wanted_is_the_end_of_the_payload_being_received() {
        let mut scanner = Scanner::new(Limits::default());
        let frame = b"*2\r\n$3\r\nabc\r\n$100\r\n";
        let at = |scanner: &mut Scanner, end| {
            assert_eq!(scanner.scan(&frame[..end]), Ok(None));
            scanner.wanted()
        };
        assert_eq!(scanner.wanted(), 0);
        assert_eq!(at(&mut scanner, 3), 0);
        assert_eq!(at(&mut scanner, 7), 0);
        assert_eq!(at(&mut scanner, 8), 13);
        assert_eq!(at(&mut scanner, 12), 13);
        assert_eq!(at(&mut scanner, 13), 0);
        assert_eq!(at(&mut scanner, 19), 121);
    }

    #[test]
    fn bytes_that_shrink_against_the_rules_are_waited_for() {
        let mut scanner = Scanner::new(Limits::default());
        assert_eq!(scanner.scan(b"*2\r\n:1\r\n+abc"), Ok(None));
        for end in 0..12 {
            assert_eq!(scanner.scan(&b"*2\r\n:1\r\n+abc"[..end]), Ok(None));
        }
        assert_eq!(scanner.scan(b"*2\r\n:1\r\n+abc\r\n"), Ok(Some(14)));
    }
}
