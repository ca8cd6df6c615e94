//! The terminator of a payload, and the error of a malformed stream.

use crate::api::error::{Error, ErrorKind};
use crate::resp::DecodeError;

pub(super) const CRLF: [u8; 2] = *b"\r\n";

/// Return the bytes of a payload without those of its terminator. The terminator is the last two of
/// the `missing` bytes that begin here.
pub(super) fn without_terminator(bytes: &[u8], missing: usize) -> Result<&[u8], Error> {
    let left = missing - bytes.len();
    let expected = &CRLF[CRLF.len() - missing.min(CRLF.len())..CRLF.len() - left.min(CRLF.len())];
    let (payload, terminator) = bytes.split_at(bytes.len() - expected.len());
    check_terminator(expected, terminator)?;
    Ok(payload)
}

pub(super) fn check_terminator(expected: &[u8], come: &[u8]) -> Result<(), Error> {
    if come == expected { Ok(()) } else { Err(broken(DecodeError::PayloadEnd)) }
}

pub(in crate::wire) fn broken(error: DecodeError) -> Error {
    let text = format!("{error} (does a Redis without TLS listen on this port?)");
    Error::new(ErrorKind::Protocol, text)
}
