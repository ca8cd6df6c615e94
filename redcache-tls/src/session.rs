//! One TLS connection.

use std::fmt;
use std::io::{Read, Write};

use rustls::ClientConnection;

use crate::error::TlsError;

/// The first byte of every TLS record is one of these.
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 0x14..=0x18;

/// One TLS connection as a state machine: it owns no socket.
pub struct Session {
    connection: ClientConnection,
    presents: bool,
    has_read: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("handshaking", &self.connection.is_handshaking())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(mut connection: ClientConnection, presents: bool) -> Self {
        // The engine limits the bytes that wait to be written.
        connection.set_buffer_limit(None);
        Self { connection, presents, has_read: false }
    }

    /// Decrypt bytes from the network, in pieces of any size, and append the result to `plaintext`.
    /// Call [`take_output`](Self::take_output) afterwards, also after an error: the session may
    /// have something to say to the server.
    ///
    /// # Errors
    ///
    /// Fails if the server's certificate is not accepted, if the server refuses this client, or if
    /// the bytes are not TLS. The session cannot be used afterwards.
    pub fn read(&mut self, mut bytes: &[u8], plaintext: &mut Vec<u8>) -> Result<(), TlsError> {
        if let (false, Some(first)) = (self.has_read, bytes.first()) {
            self.has_read = true;
            if !RECORD_TYPES.contains(first) {
                return Err(TlsError::plain_server());
            }
        }
        while !bytes.is_empty() {
            let taken = self.connection.read_tls(&mut bytes);
            if !matches!(taken, Ok(1..)) {
                return Err(TlsError::new("the server sent more than TLS allows at once"));
            }
            let state = self
                .connection
                .process_new_packets()
                .map_err(|error| TlsError::explain(&error, self.presents))?;
            let start = plaintext.len();
            plaintext.resize(start + state.plaintext_bytes_to_read(), 0);
            self.connection
                .reader()
                .read_exact(&mut plaintext[start..])
                .map_err(|error| TlsError::new(format!("TLS failed: {error}")))?;
        }
        Ok(())
    }

    /// Encrypt bytes for the server. Until the handshake is complete, they are buffered.
    ///
    /// # Errors
    ///
    /// Fails if the session has failed before.
    pub fn write(&mut self, plaintext: &[u8]) -> Result<(), TlsError> {
        self.connection
            .writer()
            .write_all(plaintext)
            .map_err(|error| TlsError::new(format!("TLS failed: {error}")))
    }

    /// Append the bytes that must go to the network to `out`.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // A write to a `Vec` never fails.
            if self.connection.write_tls(out).is_err() {
                return;
            }
        }
    }

    /// Return `true` if [`take_output`](Self::take_output) has bytes.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Return `true` until both sides have agreed on the encryption.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Send the closing alert, so that the server can distinguish a regular end from a truncated
    /// stream. Call [`take_output`](Self::take_output) afterwards.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }
}
