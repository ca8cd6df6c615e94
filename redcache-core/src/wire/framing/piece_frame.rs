//! The frame of a piece of a value. Its payload goes to the memory of the value at once, so the
//! frame is never put together.

use super::terminator::{CRLF, without_terminator};
use crate::api::error::Error;
use crate::wire::input::Input;
use crate::wire::value_memory::{Room, Total, ValueMemory, append};

/// The piece that is being received.
#[derive(Debug)]
pub(super) struct PieceFrame {
    /// The length of the frame.
    length: usize,
    /// The number of its missing bytes.
    missing: usize,
    memory: Vec<u8>,
    total: Total,
}

impl PieceFrame {
    /// Begin with the payload behind a header of this length, and consume the header.
    pub(super) fn begin(header: usize, room: &mut Room<'_>, input: &mut Input<'_>) -> Self {
        input.bytes = &input.bytes[header..];
        let missing = room.piece + CRLF.len();
        let memory = std::mem::take(room.memory);
        Self { length: header + missing, missing, memory, total: room.total }
    }

    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// Return the number of bytes of the frame that have arrived.
    pub(super) fn arrived(&self) -> usize {
        self.length - self.missing
    }

    /// Take the next bytes. Return the length of the frame once it is whole.
    ///
    /// # Errors
    ///
    /// Fails if the frame does not end with its terminator.
    pub(super) fn take(
        &mut self,
        input: &mut Input<'_>,
        room: Option<Room<'_>>,
    ) -> Result<Option<usize>, Error> {
        let before = self.missing;
        let (bytes, rest) = input.bytes.split_at(before.min(input.bytes.len()));
        input.bytes = rest;
        self.missing -= bytes.len();
        append(&mut self.memory, without_terminator(bytes, before)?, self.total);
        if self.missing > 0 {
            return Ok(None);
        }
        let memory = std::mem::take(&mut self.memory);
        // A value that has changed meanwhile needs no memory.
        if let Some(room) = room {
            *room.memory = memory;
        }
        Ok(Some(self.length))
    }

    /// Return the memory, for the adapter to fill in this number of bytes.
    pub(super) fn lend(&mut self, missing: usize) -> ValueMemory {
        ValueMemory::new(std::mem::take(&mut self.memory), missing, self.total)
    }

    /// Take the memory back, with `filled` more bytes than before.
    pub(super) fn take_back(&mut self, memory: Vec<u8>, filled: usize) {
        self.memory = memory;
        self.missing -= filled;
        if mutant!(FilledBytesLost) {
            self.memory.truncate(self.memory.len() - filled);
        }
    }
}
