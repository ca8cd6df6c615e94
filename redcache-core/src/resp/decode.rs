//! A whole frame, read in place.

use std::fmt;

use super::{
    header::{self, Kind, NIL, VERBATIM_PREFIX},
    scan::{DEPTH_CEILING, DecodeError},
};

/// The fewest bytes that an element takes: a type byte and CRLF.
const ELEMENT_MIN: usize = 3;

/// Says what a frame means; its bytes stay where they were received.
///
/// `Debug` shows how long texts are, not what they say, because values of the application pass through here.
#[derive(Clone, PartialEq)]
#[repr(usize)]
pub enum Frame<'a> {
    /// A short text such as `OK`, with no CR or LF in it.
    Simple(&'a [u8]),
    /// An error, be it short or a blob: its code, a space, and a message.
    Error(&'a [u8]),
    /// An integer.
    Integer(i64),
    /// A byte string, or the payload of a verbatim string without its format.
    Bulk(&'a [u8]),
    /// Nothing, in any of the three spellings of RESP2 and RESP3.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A floating-point number, possibly infinite or NaN.
    Double(f64),
    /// The decimal digits of an integer of any size, perhaps after a minus sign.
    BigNumber(&'a [u8]),
    /// A sequence.
    Array(Vec<Self>),
    /// A set, in the order and with the repetitions in which it was sent.
    Set(Vec<Self>),
    /// A map, in the order and with the repetitions in which it was sent.
    Map(Vec<(Self, Self)>),
    /// News from the server that answers no command; the first element names its kind.
    Push(Vec<Self>),
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(f, "Simple({} bytes)", text.len()),
            // A server may quote the arguments of a command in a message, but never in the code.
            Self::Error(text) => {
                let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
                write!(f, "Error({}, {} bytes)", code.escape_ascii(), text.len())
            }
            Self::Integer(number) => write!(f, "Integer({number})"),
            Self::Bulk(payload) => write!(f, "Bulk({} bytes)", payload.len()),
            Self::Null => f.write_str("Null"),
            Self::Boolean(truth) => write!(f, "Boolean({truth})"),
            Self::Double(number) => write!(f, "Double({number})"),
            Self::BigNumber(digits) => write!(f, "BigNumber({} bytes)", digits.len()),
            Self::Array(elements) => f.debug_tuple("Array").field(elements).finish(),
            Self::Set(elements) => f.debug_tuple("Set").field(elements).finish(),
            Self::Map(entries) => f.debug_tuple("Map").field(entries).finish(),
            Self::Push(elements) => f.debug_tuple("Push").field(elements).finish(),
        }
    }
}

/// Reads `frame`, which is exactly one whole frame that the [`Scanner`](super::Scanner) returned.
///
/// An attribute is passed over: what it says of the frame behind it is of no use to a cache.
///
/// # Errors
///
/// Never fails on a frame of the scanner. On other bytes it returns an error or an unspecified frame; it does not panic.
#[inline]
pub fn decode(frame: &[u8]) -> Result<Frame<'_>, DecodeError> {
    Reader { rest: frame }.frame(0)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a frame inside `depth` aggregates.
    ///
    /// Terminators are stepped over without a look, since the scanner has just checked them. The recursion is as deep as
    /// the scanner let the frame be.
    #[inline]
    fn frame(&mut self, depth: usize) -> Result<Frame<'a>, DecodeError> {
        match self.common() {
            Some(frame) => Ok(frame),
            None => self.any(depth),
        }
    }

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

    fn any(&mut self, depth: usize) -> Result<Frame<'a>, DecodeError> {
        let (kind, text) = self.line()?;
        Ok(match kind {
            Kind::Bulk | Kind::Array if text == NIL => Frame::Null,
            Kind::Bulk => Frame::Bulk(self.payload(text)?),
            Kind::Simple => Frame::Simple(text),
            Kind::Error => Frame::Error(text),
            Kind::Integer => Frame::Integer(header::integer(text).ok_or(DecodeError::Integer)?),
            Kind::Null => Frame::Null,
            Kind::Boolean => Frame::Boolean(header::boolean(text).ok_or(DecodeError::Boolean)?),
            Kind::Double => Frame::Double(header::double(text).ok_or(DecodeError::Double)?),
            Kind::BigNumber => Frame::BigNumber(text),
            Kind::BlobError => Frame::Error(self.payload(text)?),
            Kind::Verbatim => {
                let payload = self.payload(text)?;
                Frame::Bulk(
                    payload
                        .get(VERBATIM_PREFIX..)
                        .ok_or(DecodeError::Verbatim)?,
                )
            }
            Kind::Array => Frame::Array(self.elements(text, depth)?),
            Kind::Set => Frame::Set(self.elements(text, depth)?),
            Kind::Map => Frame::Map(self.entries(text, depth)?),
            Kind::Push => Frame::Push(self.elements(text, depth)?),
            Kind::Attribute => {
                self.entries(text, depth)?;
                self.frame(depth + 1)?
            }
            Kind::Streamed => return Err(DecodeError::Streamed),
        })
    }

    /// Takes a line off the front: its type and its text.
    #[inline]
    fn line(&mut self) -> Result<(Kind, &'a [u8]), DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        let kind = Kind::of(byte).ok_or(DecodeError::UnknownType)?;
        let end = rest
            .iter()
            .position(|&byte| byte == b'\r')
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest.get(end + 2..).ok_or(DecodeError::Truncated)?;
        Ok((kind, &rest[..end]))
    }

    /// Takes off the payload whose length is `text`.
    #[inline]
    fn payload(&mut self, text: &[u8]) -> Result<&'a [u8], DecodeError> {
        let length = header::length(text).ok_or(DecodeError::Length)?;
        let (payload, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest.get(2..).ok_or(DecodeError::Truncated)?;
        Ok(payload)
    }

    /// Takes off the elements whose count is `text`.
    fn elements(&mut self, text: &[u8], depth: usize) -> Result<Vec<Frame<'a>>, DecodeError> {
        let count = count(text, depth)?;
        let mut elements = Vec::with_capacity(count.min(self.rest.len() / ELEMENT_MIN));
        for _ in 0..count {
            match self.common() {
                Some(frame) => elements.push(frame),
                None => elements.push(self.any(depth + 1)?),
            }
        }
        Ok(elements)
    }

    /// Takes off the map entries whose count is `text`.
    fn entries(
        &mut self,
        text: &[u8],
        depth: usize,
    ) -> Result<Vec<(Frame<'a>, Frame<'a>)>, DecodeError> {
        let count = count(text, depth)?;
        let mut entries = Vec::with_capacity(count.min(self.rest.len() / (2 * ELEMENT_MIN)));
        for _ in 0..count {
            entries.push((self.frame(depth + 1)?, self.frame(depth + 1)?));
        }
        Ok(entries)
    }
}

/// Reads the element count of an aggregate that stands inside `depth` others.
fn count(text: &[u8], depth: usize) -> Result<usize, DecodeError> {
    if depth == DEPTH_CEILING {
        return Err(DecodeError::TooDeep);
    }
    header::length(text).ok_or(DecodeError::Length)
}
