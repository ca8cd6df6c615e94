//! The two threads of a connection, one of which reads while the other writes.

use std::thread;
use std::time::Instant;

use crate::connection::ConnectionIo;
use crate::shared::Shared;

/// Read until the connection ends, and report its end.
pub(crate) fn read(shared: &Shared, io: &ConnectionIo) {
    let mut end = End { shared, io, reason: "the thread that reads it panicked".to_owned() };
    end.reason = io.read_all(|received| {
        shared.step(|state, now| {
            let rest = state.host.engine.handle_received(now, io.conn, received);
            (rest, state.has_connection(io.conn))
        })
    });
}

/// Reports the end of a connection, also if its thread panics.
struct End<'a> {
    shared: &'a Shared,
    io: &'a ConnectionIo,
    reason: String,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let conn = self.io.conn;
        let connection = self.shared.step(|state, now| {
            state.host.engine.handle_disconnected(now, conn, &self.reason);
            state.take_connection(conn)
        });
        if let Some(connection) = connection {
            connection.hang_up();
        }
    }
}

/// Write what the engine has whenever the thread is woken, until the connection ends.
pub(crate) fn write(shared: &Shared, io: &ConnectionIo) {
    loop {
        let on_progress = || {
            let mut state = shared.lock();
            let now = state.host.advance(Instant::now());
            state.host.engine.handle_written(now, io.conn);
        };
        let (is_open, has_more) = io.write_rest(on_progress, |unwritten| {
            let mut state = shared.lock();
            state.host.engine.take_transmit(io.conn, unwritten);
            state.has_connection(io.conn)
        });
        if !is_open {
            return;
        }
        if !has_more {
            thread::park();
            // Other callers are about to follow the one that woke the thread. Their commands go out
            // in one write.
            thread::yield_now();
        }
    }
}
