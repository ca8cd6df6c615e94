//! Decodes whole frames in place.

use std::fmt;

use super::{
    error::DecodeError,
    header::{self, Kind, NIL, VERBATIM_PREFIX},
    limits::DEPTH_CEILING,
};

/// The shortest element: a type byte and CRLF.
const ELEMENT_MIN: usize = 3;

/// A decoded frame, which borrows the received bytes.
///
/// `Debug` shows the lengths of texts and not the texts, which may be the application's values.
#[derive(Clone, PartialEq)]
pub enum Frame<'a> {
    /// A short text such as `OK`, without CR or LF.
    Simple(&'a [u8]),
    /// A short error or a blob error: its code, a space, and a message.
    Error(&'a [u8]),
    /// An integer.
    Integer(i64),
    /// A byte string, or the payload of a verbatim string without its format.
    Bulk(&'a [u8]),
    /// A null, in any of the three encodings of RESP2 and RESP3.
    Null,
    /// A boolean.
    Boolean(bool),
    /// A floating-point number, possibly infinite or NaN.
    Double(f64),
    /// The decimal digits of an integer of any size, after an optional minus sign.
    BigNumber(&'a [u8]),
    /// A sequence.
    Array(Vec<Self>),
    /// A set, with the order and repetitions in which it was sent.
    Set(Vec<Self>),
    /// A map, with the order and repetitions in which it was sent.
    Map(Vec<(Self, Self)>),
    /// A push: a message that answers no command; the first element names its kind.
    Push(Vec<Self>),
}

/// Decode exactly one whole frame that the [`Scanner`](super::Scanner) returned.
///
/// Attributes are skipped.
///
/// # Errors
///
/// Never fails on a frame of the scanner. On other bytes it fails or returns an unspecified frame,
/// but does not panic.
///
/// # Examples
///
/// ```
/// use redcache_core::resp::{Frame, decode};
///
/// assert_eq!(decode(b"$5\r\nhello\r\n"), Ok(Frame::Bulk(b"hello")));
/// ```
#[inline]
pub fn decode(frame: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let mut reader = Reader { rest: frame };
    match reader.common() {
        Some(frame) => Ok(frame),
        None => reader.any(0),
    }
}

/// The bytes that are not decoded yet.
///
/// The scanner has checked them, so terminators are skipped unread, and bounds are checked only to
/// avoid panics.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Take a frame of a frequent type.
    ///
    /// After `None`, [`Reader::any`] decides. This halves the time of a short reply.
    #[inline]
    fn common(&mut self) -> Option<Frame<'a>> {
        let (&kind, rest) = self.rest.split_first()?;
        match kind {
            b'$' => {
                let (length, rest) = header::short_number(rest)?;
                let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                self.rest = rest.get(2..)?;
                Some(Frame::Bulk(payload))
            }
            b':' => {
                let (number, rest) = header::short_number(rest)?;
                self.rest = rest;
                Some(Frame::Integer(number.cast_signed()))
            }
            b'_' => {
                self.rest = rest.get(2..)?;
                Some(Frame::Null)
            }
            b'+' => {
                self.rest = rest.strip_prefix(b"OK\r\n")?;
                Some(Frame::Simple(b"OK"))
            }
            _ => None,
        }
    }

    /// Take a frame of any type inside `depth` aggregates.
    ///
    /// The recursion is as deep as the nesting of the frame, which the scanner has limited.
    fn any(&mut self, depth: usize) -> Result<Frame<'a>, DecodeError> {
        let (kind, text) = self.line()?;
        Ok(match kind {
            Kind::Bulk | Kind::Array if text == NIL => Frame::Null,
            Kind::Simple => Frame::Simple(text),
            Kind::Error => Frame::Error(text),
            Kind::Integer => Frame::Integer(header::integer(text).ok_or(DecodeError::Integer)?),
            Kind::Bulk => Frame::Bulk(self.payload(text)?),
            Kind::BlobError => Frame::Error(self.payload(text)?),
            Kind::Verbatim => {
                let payload = self.payload(text)?;
                Frame::Bulk(payload.get(VERBATIM_PREFIX..).ok_or(DecodeError::Verbatim)?)
            }
            Kind::Null => Frame::Null,
            Kind::Boolean => Frame::Boolean(header::boolean(text).ok_or(DecodeError::Boolean)?),
            Kind::Double => Frame::Double(header::double(text).ok_or(DecodeError::Double)?),
            Kind::BigNumber => Frame::BigNumber(text),
            Kind::Array => Frame::Array(self.elements(text, depth)?),
            Kind::Set => Frame::Set(self.elements(text, depth)?),
            Kind::Map => Frame::Map(self.entries(text, depth)?),
            Kind::Push => Frame::Push(self.elements(text, depth)?),
            Kind::Attribute => {
                self.entries(text, depth)?;
                self.any(depth + 1)?
            }
            Kind::Streamed => return Err(DecodeError::Streamed),
        })
    }

    /// Take a line: its type and its text.
    fn line(&mut self) -> Result<(Kind, &'a [u8]), DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        let kind = Kind::of(byte).ok_or(DecodeError::UnknownType)?;
        let end = rest.iter().position(|&byte| byte == b'\r').ok_or(DecodeError::Truncated)?;
        self.rest = rest.get(end + 2..).ok_or(DecodeError::Truncated)?;
        Ok((kind, &rest[..end]))
    }

    /// Take a payload whose length is `text`.
    fn payload(&mut self, text: &[u8]) -> Result<&'a [u8], DecodeError> {
        let length = header::length(text).ok_or(DecodeError::Length)?;
        let (payload, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest.get(2..).ok_or(DecodeError::Truncated)?;
        Ok(payload)
    }

    /// Take elements whose count is `text`.
    fn elements(&mut self, text: &[u8], depth: usize) -> Result<Vec<Frame<'a>>, DecodeError> {
        let count = count(text, depth)?;
        let mut elements = Vec::with_capacity(count.min(self.rest.len() / ELEMENT_MIN));
        for _ in 0..count {
            // A `push` in each branch avoids another move of the frame.
            match self.common() {
                Some(frame) => elements.push(frame),
                None => elements.push(self.any(depth + 1)?),
            }
        }
        Ok(elements)
    }

    /// Take map entries whose count is `text`.
    fn entries(
        &mut self,
        text: &[u8],
        depth: usize,
    ) -> Result<Vec<(Frame<'a>, Frame<'a>)>, DecodeError> {
        let count = count(text, depth)?;
        let mut entries = Vec::with_capacity(count.min(self.rest.len() / (2 * ELEMENT_MIN)));
        for _ in 0..count {
            entries.push((self.any(depth + 1)?, self.any(depth + 1)?));
        }
        Ok(entries)
    }
}

/// Read the element count of an aggregate inside `depth` others.
fn count(text: &[u8], depth: usize) -> Result<usize, DecodeError> {
    // A frame of the scanner never reaches this depth; other bytes must not exhaust the stack.
    if depth == DEPTH_CEILING {
        return Err(DecodeError::TooDeep);
    }
    header::length(text).ok_or(DecodeError::Length)
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(f, "Simple({} bytes)", text.len()),
            // A server may quote the arguments of a command in the message, but not in the code.
            Self::Error(text) => {
                let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
                write!(f, "Error({}, {} bytes)", code.escape_ascii(), text.len())
            }
            Self::Integer(number) => write!(f, "Integer({number})"),
            Self::Bulk(payload) => write!(f, "Bulk({} bytes)", payload.len()),
            Self::Null => f.write_str("Null"),
            Self::Boolean(truth) => write!(f, "Boolean({truth})"),
            Self::Double(number) => write!(f, "Double({number})"),
            Self::BigNumber(text) => write!(f, "BigNumber({} bytes)", text.len()),
            Self::Array(elements) => f.debug_tuple("Array").field(elements).finish(),
            Self::Set(elements) => f.debug_tuple("Set").field(elements).finish(),
            Self::Map(entries) => f.debug_tuple("Map").field(entries).finish(),
            Self::Push(elements) => f.debug_tuple("Push").field(elements).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Frame::{
            Array, BigNumber, Boolean, Bulk, Double, Error, Integer, Map, Null, Push, Set, Simple,
        },
        *,
    };
    use crate::resp::{Limits, Scanner};

    #[track_caller]
    fn check(bytes: &[u8], expected: &Frame<'_>) {
        let scanned = Scanner::new(Limits::default()).scan(bytes);
        assert_eq!(scanned, Ok(Some(bytes.len())), "{}", bytes.escape_ascii());
        assert!(decode(bytes).as_ref() == Ok(expected), "{}", bytes.escape_ascii());
    }

    #[test]
    fn each_type_is_decoded() {
        let cases: [(&[u8], Frame<'_>); 22] = [
            (b"+OK\r\n", Simple(b"OK")),
            (b"+PONG\r\n", Simple(b"PONG")),
            (b"+\r\n", Simple(b"")),
            (b"-ERR no\r\n", Error(b"ERR no")),
            (b"!6\r\nERR\r\nx\r\n", Error(b"ERR\r\nx")),
            (b":0\r\n", Integer(0)),
            (b":-2\r\n", Integer(-2)),
            (b":999999999999999999\r\n", Integer(999_999_999_999_999_999)),
            (b":9223372036854775807\r\n", Integer(i64::MAX)),
            (b":-9223372036854775808\r\n", Integer(i64::MIN)),
            (b"$0\r\n\r\n", Bulk(b"")),
            (b"$4\r\n\r\n>1\r\n", Bulk(b"\r\n>1")),
            (b"=8\r\ntxt:\r\n>1\r\n", Bulk(b"\r\n>1")),
            (b"=4\r\nxyz:\r\n", Bulk(b"")),
            (b"_\r\n", Null),
            (b"$-1\r\n", Null),
            (b"*-1\r\n", Null),
            (b"#t\r\n", Boolean(true)),
            (b"#f\r\n", Boolean(false)),
            (b",-1.5\r\n", Double(-1.5)),
            (b",inf\r\n", Double(f64::INFINITY)),
            (b"(-12345678901234567890\r\n", BigNumber(b"-12345678901234567890")),
        ];
        for (bytes, expected) in cases {
            check(bytes, &expected);
        }
        assert!(matches!(decode(b",nan\r\n"), Ok(Double(number)) if number.is_nan()));
    }

    #[test]
    fn aggregates_keep_order_and_repetitions() {
        check(b"*0\r\n", &Array(vec![]));
        check(b"%0\r\n", &Map(vec![]));
        check(b"~3\r\n:2\r\n:1\r\n:2\r\n", &Set(vec![Integer(2), Integer(1), Integer(2)]));
        check(
            b"%3\r\n+b\r\n:1\r\n+a\r\n:2\r\n+b\r\n:3\r\n",
            &Map(vec![
                (Simple(b"b"), Integer(1)),
                (Simple(b"a"), Integer(2)),
                (Simple(b"b"), Integer(3)),
            ]),
        );
        check(
            b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
            &Push(vec![Bulk(b"invalidate"), Array(vec![Bulk(b"k")])]),
        );
        check(b">2\r\n$10\r\ninvalidate\r\n_\r\n", &Push(vec![Bulk(b"invalidate"), Null]));
    }

    #[test]
    fn each_type_is_decoded_inside_aggregates() {
        check(
            b"*5\r\n$-1\r\n*-1\r\n_\r\n=5\r\nabc:x\r\n*1\r\n!3\r\nERR\r\n",
            &Array(vec![Null, Null, Null, Bulk(b"x"), Array(vec![Error(b"ERR")])]),
        );
        check(
            b"%1\r\n*1\r\n:1\r\n%1\r\n#t\r\n~1\r\n,0.5\r\n",
            &Map(vec![(
                Array(vec![Integer(1)]),
                Map(vec![(Boolean(true), Set(vec![Double(0.5)]))]),
            )]),
        );
    }

    #[test]
    fn attributes_are_skipped() {
        check(b"|1\r\n+ttl\r\n:9\r\n$1\r\nv\r\n", &Bulk(b"v"));
        check(b"|0\r\n|1\r\n+a\r\n*1\r\n_\r\n:1\r\n", &Integer(1));
        check(
            b"*3\r\n:1\r\n|1\r\n+ttl\r\n:9\r\n:2\r\n:3\r\n",
            &Array(vec![Integer(1), Integer(2), Integer(3)]),
        );
    }

    #[test]
    fn unscanned_bytes_fail_without_exhausting_anything() {
        let cases: [(&[u8], DecodeError); 8] = [
            (b"", DecodeError::Truncated),
            (b"$5\r\nhell", DecodeError::Truncated),
            (b"$5\r\nhello", DecodeError::Truncated),
            (b"*1000000000000\r\n:1\r\n", DecodeError::Truncated),
            (b"%1000000000000\r\n:1\r\n", DecodeError::Truncated),
            (b"$x\r\n", DecodeError::Length),
            (b"$?\r\n;0\r\n", DecodeError::Length),
            (b"H\r\n", DecodeError::UnknownType),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decode(bytes), Err(expected), "{}", bytes.escape_ascii());
        }
        for layer in [b"*1\r\n".as_slice(), b"%1\r\n", b"|0\r\n"] {
            assert_eq!(decode(&layer.repeat(100_000)), Err(DecodeError::TooDeep));
        }
    }

    #[test]
    fn debug_shows_no_secrets() {
        let frame = Array(vec![
            Simple(b"secret"),
            Error(b"ERR unknown command 'secret'"),
            Bulk(b"secret"),
            BigNumber(b"5"),
            Map(vec![(Null, Set(vec![Boolean(true), Double(0.5)]))]),
            Push(vec![Integer(1)]),
        ]);
        assert_eq!(
            format!("{frame:?}"),
            "Array([Simple(6 bytes), Error(ERR, 28 bytes), Bulk(6 bytes), BigNumber(1 bytes), \
             Map([(Null, Set([Boolean(true), Double(0.5)]))]), Push([Integer(1)])])"
        );
    }
}
