//! Cuts the byte stream of a connection into frames.

use crate::api::error::{Error, ErrorKind};
use crate::resp::{self, Limits, Scanner};
use crate::wire::inbound::Input;

/// How many bytes a frame may have besides the values in it.
const OVERHEAD_MAX: usize = 1 << 20;

/// The frame reader of one connection. A frame within one read is not copied.
#[derive(Debug)]
pub(super) struct Framing {
    scanner: Scanner,
    /// Bytes of earlier reads: from `start` on they belong to an unfinished frame.
    tail: Vec<u8>,
    start: usize,
}

impl Framing {
    pub(super) fn new(limits: Limits) -> Self {
        Self { scanner: Scanner::new(limits), tail: Vec::new(), start: 0 }
    }

    /// Return the next whole frame; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// The bytes are not RESP3, or an unfinished frame is longer than `unfinished_max` and 1 MiB.
    pub(super) fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut Input<'i>,
        unfinished_max: usize,
    ) -> Result<Option<&'a [u8]>, Error> {
        if self.start == self.tail.len() {
            self.tail = Vec::new();
            self.start = 0;
        }
        if self.tail.is_empty() {
            let bytes = input.0;
            let Some(length) = self.scanner.scan(bytes).map_err(broken)? else {
                check_unfinished(bytes.len(), unfinished_max)?;
                self.tail.extend_from_slice(bytes);
                input.0 = &[];
                return Ok(None);
            };
            let (frame, rest) = bytes.split_at(length);
            input.0 = rest;
            return Ok(Some(frame));
        }
        self.tail.extend_from_slice(input.0);
        input.0 = &[];
        let unread = &self.tail[self.start..];
        let Some(length) = self.scanner.scan(unread).map_err(broken)? else {
            check_unfinished(unread.len(), unfinished_max)?;
            self.tail.drain(..self.start);
            self.start = 0;
            return Ok(None);
        };
        let start = self.start;
        self.start += length;
        Ok(Some(&self.tail[start..start + length]))
    }
}

/// Bound the memory for an unfinished frame. The scanner bounds each string, but a frame may hold
/// many.
fn check_unfinished(length: usize, unfinished_max: usize) -> Result<(), Error> {
    if length <= unfinished_max.saturating_add(OVERHEAD_MAX) {
        return Ok(());
    }
    let text = "a frame is longer than `value_max` for each value in it and 1 MiB";
    Err(Error::new(ErrorKind::Protocol, text))
}

pub(super) fn broken(error: resp::DecodeError) -> Error {
    let text = format!("{error} (does a Redis without TLS listen on this port?)");
    Error::new(ErrorKind::Protocol, text)
}
