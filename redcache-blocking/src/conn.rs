//! Two threads per connection, one of which reads while the other writes.
//!
//! A write to a blocking socket may last: until the server reads on, or until the engine has had enough and hangs up.
//! So a thread that others depend on never writes what might not fit. A caller, or whoever else gave the engine its
//! input, writes for itself only if no answer was outstanding before. The server has then read all that was ever
//! sent, so the kernel's buffers are empty and take a few kilobytes at once. All else is left to the thread that does
//! nothing but write.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::Duration;
#[cfg(unix)]
use std::time::Instant;

use redcache_adapter::BusyPoll;
use redcache_core::{ConnId, Engine};

use crate::shared::Shared;
use crate::socket::Socket;

/// How much is read at once.
const READ_BUFFER: usize = 64 << 10;
/// What an idle connection takes without blocking, whatever the system.
const DIRECT_MAX: usize = 16 << 10;
/// A write buffer that has grown beyond this is not kept.
const WRITE_BUFFER_KEPT: usize = 1 << 20;

/// A connection as its threads see it.
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    socket: Socket,
    /// Whoever holds this lock reads. It is never waited for by a caller.
    inbound: Mutex<Inbound>,
    /// Whoever holds this lock writes. It is never waited for under the engine's lock.
    unwritten: Mutex<Vec<u8>>,
    /// Why writing failed.
    failure: OnceLock<io::Error>,
}

/// The receiving half of a connection.
struct Inbound {
    buffer: Vec<u8>,
    busy_poll: BusyPoll,
}

/// A connection as the shared state knows it.
pub(crate) struct Line {
    pub(crate) link: Arc<Link>,
    pub(crate) writer: Thread,
}

impl Line {
    /// Has both threads end.
    pub(crate) fn hang_up(&self) {
        self.link.socket.shut_down();
        self.writer.unpark();
    }
}

impl Link {
    pub(crate) fn new(conn: ConnId, socket: Socket, busy_poll: Duration) -> Self {
        let busy_poll = BusyPoll::new(busy_poll);
        let inbound = Inbound { buffer: vec![0; READ_BUFFER], busy_poll };
        let (inbound, unwritten) = (Mutex::new(inbound), Mutex::default());
        Self { conn, socket, inbound, unwritten, failure: OnceLock::new() }
    }

    /// Reads in the thread of a caller, for as long as an answer is worth looking for and until one `has_come`: that is
    /// sooner than the thread that reads, and then the caller's own, could wake up. That thread sees what is not read
    /// here, the end of the connection among it.
    #[cfg(unix)]
    pub(crate) fn look_for(&self, shared: &Shared, has_come: impl Fn() -> bool) {
        let Ok(mut inbound) = self.inbound.try_lock() else { return };
        let Inbound { buffer, busy_poll } = &mut *inbound;
        if !busy_poll.begin(Instant::now()) {
            return;
        }
        while !has_come() {
            match self.socket.read_now(buffer) {
                Ok(Some(count)) if count > 0 => {
                    busy_poll.on_found();
                    busy_poll.begin(Instant::now());
                    let bytes = &buffer[..count];
                    shared.step(|state, now| state.engine.handle_read(now, self.conn, bytes));
                }
                Ok(None) if busy_poll.goes_on(Instant::now()) => thread::yield_now(),
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Takes what an idle connection has to write, if it is little. `None` leaves it to the writer's thread.
    pub(crate) fn try_take(&self, engine: &mut Engine) -> Option<MutexGuard<'_, Vec<u8>>> {
        let mut unwritten = match self.unwritten.try_lock() {
            Ok(unwritten) => unwritten,
            Err(TryLockError::Poisoned(unwritten)) => unwritten.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if !unwritten.is_empty() {
            return None;
        }
        engine.take_transmit(self.conn, &mut unwritten);
        (unwritten.len() <= DIRECT_MAX).then_some(unwritten)
    }

    /// Writes what was taken. After a failure nothing more is written, and the reader's thread finds the connection
    /// ended.
    pub(crate) fn write(&self, unwritten: &mut Vec<u8>) {
        if self.failure.get().is_none()
            && let Err(error) = self.socket.write_all(unwritten)
        {
            // Only the first failure counts.
            let _ = self.failure.set(error);
            self.socket.shut_down();
        }
        unwritten.clear();
        if unwritten.capacity() > WRITE_BUFFER_KEPT {
            *unwritten = Vec::new();
        }
    }
}

/// Reads until the connection ends, and reports that.
pub(crate) fn read(shared: &Shared, link: &Link) {
    let mut end = End { shared, link, reason: "the thread that reads it panicked".to_owned() };
    end.reason = read_all(shared, link);
}

/// Gives the reason why it ended.
fn read_all(shared: &Shared, link: &Link) -> String {
    loop {
        let readable = link.socket.wait_readable();
        let mut inbound = link.inbound.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = &mut inbound.buffer;
        let failure = match readable.and_then(|()| link.socket.read_now(buffer)) {
            // A caller was faster.
            Ok(None) => continue,
            Ok(Some(0)) => "the server closed the connection".to_owned(),
            Ok(Some(count)) => {
                let hung_up = shared.step(|state, now| {
                    state.engine.handle_read(now, link.conn, &buffer[..count]);
                    !state.has_line(link.conn)
                });
                if hung_up {
                    return "hung up".to_owned();
                }
                continue;
            }
            Err(error) => error.to_string(),
        };
        return link.failure.get().map_or(failure, io::Error::to_string);
    }
}

/// Reports the end of a connection, also that of its thread.
struct End<'a> {
    shared: &'a Shared,
    link: &'a Link,
    reason: String,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let conn = self.link.conn;
        let line = self.shared.step(|state, now| {
            state.engine.handle_disconnected(now, conn, &self.reason);
            state.take_line(conn)
        });
        if let Some(line) = line {
            line.hang_up();
        }
    }
}

/// Writes whatever there is whenever it is woken, until the connection ends.
pub(crate) fn write(shared: &Shared, link: &Link) {
    loop {
        let mut unwritten = link.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        link.write(&mut unwritten);
        let mut state = shared.lock();
        if !state.has_line(link.conn) {
            return;
        }
        let more = state.engine.take_transmit(link.conn, &mut unwritten);
        drop(state);
        drop(unwritten);
        if !more {
            thread::park();
            // Where one caller is, others are about to be: their commands go out in the same write.
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use redcache_core::{Config, Event, Seed};

    use super::*;

    fn engine_that_dials() -> (Engine, ConnId) {
        let config = Config::from_url("redis://localhost").unwrap();
        let seed = Seed { random: [7; 32], unix_ms: 0 };
        let mut engine = Engine::new(Instant::now(), &seed, config);
        let Some(Event::Dial { conn, .. }) = engine.poll_event() else { panic!("no dial") };
        (engine, conn)
    }

    #[test]
    fn what_is_owed_to_the_writer_is_neither_overtaken_nor_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut engine, conn) = engine_that_dials();
        engine.handle_connected(Instant::now(), conn);
        let link = Link::new(conn, Socket::Tcp(socket), Duration::ZERO);
        link.unwritten.lock().unwrap().extend_from_slice(b"owed");
        assert!(link.try_take(&mut engine).is_none());
        assert_eq!(engine.poll_transmit(), Some(conn));
        let mut unwritten = link.unwritten.lock().unwrap();
        assert_eq!(*unwritten, b"owed");
        assert!(link.try_take(&mut engine).is_none());
        link.write(&mut unwritten);
        drop(unwritten);
        assert!(link.try_take(&mut engine).is_some_and(|taken| taken.starts_with(b"*")));
        assert_eq!(engine.poll_transmit(), None);
    }
    #[cfg(unix)]
    #[test]
    fn a_write_that_fails_ends_the_connection_for_its_reader_too() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let (_engine, conn) = engine_that_dials();
        let link = Link::new(conn, Socket::Unix(ours), Duration::ZERO);
        assert_eq!(link.socket.read_now(&mut [0; 8]).unwrap(), None);
        link.write(&mut b"PING".to_vec());
        assert!(link.failure.get().is_some());
        assert_eq!(link.socket.read_now(&mut [0; 8]).unwrap(), Some(0));
    }
}
