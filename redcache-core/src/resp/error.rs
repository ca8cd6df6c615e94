//! Malformed bytes of a server.

use thiserror::Error;

#[cfg(doc)]
use super::limits::Limits;

/// Reason why the bytes of a server are not RESP3, or exceed the limits.
///
/// It contains none of those bytes. Their connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A frame starts with an unknown type byte.
    #[error("unknown frame type")]
    UnknownType,
    /// A frame does not announce its length.
    #[error("streamed frame")]
    Streamed,
    /// A push is nested in another frame.
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
    #[error("payload longer than the limit")]
    BulkTooLong,
    /// A frame exceeds [`Limits::elements_max`].
    #[error("more elements than the limit")]
    TooManyElements,
    /// A frame exceeds [`Limits::depth_max`].
    #[error("nested deeper than the limit")]
    TooDeep,
    /// The frame to decode is not whole.
    #[error("frame is not whole")]
    Truncated,
}
