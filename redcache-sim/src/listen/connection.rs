//! One TCP connection with a queue of bytes to send, so that the server never waits for a slow
//! client.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    outgoing: Mutex<Outgoing>,
    writer_wakes: Condvar,
}

#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// No more bytes follow `bytes`.
    finished: bool,
}

impl Connection {
    pub(super) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Self { socket, outgoing: Mutex::default(), writer_wakes: Condvar::new() })
    }

    /// Queue bytes for the writer.
    pub(super) fn send(&self, bytes: &[u8]) {
        self.lock().bytes.extend_from_slice(bytes);
        self.writer_wakes.notify_one();
    }

    /// End the connection once all queued bytes are sent.
    pub(super) fn finish(&self) {
        self.lock().finished = true;
        self.writer_wakes.notify_one();
    }

    /// End the connection at once.
    pub(super) fn close(&self) {
        self.finish();
        // The peer may have closed first.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Wait for bytes; return `None` at the end of the stream.
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        loop {
            match (&self.socket).read(buffer) {
                Ok(0) => return None,
                Ok(length) => return Some(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Send queued bytes until the connection ends.
    pub(super) fn write_all(&self) {
        while let Some(bytes) = self.next_bytes() {
            if (&self.socket).write_all(&bytes).is_err() {
                break;
            }
        }
        self.close();
    }

    fn next_bytes(&self) -> Option<Vec<u8>> {
        let waits = |outgoing: &mut Outgoing| outgoing.bytes.is_empty() && !outgoing.finished;
        let woken = self.writer_wakes.wait_while(self.lock(), waits);
        let mut outgoing = woken.unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::take(&mut outgoing.bytes)).filter(|bytes| !bytes.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
