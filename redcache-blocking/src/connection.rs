//! A connection: its socket, and the buffers of the threads that read and write it.
//!
//! A write to a blocking socket may block until the server reads again, or until the engine gives
//! the connection up. So a thread that others depend on writes only bytes that fit into the
//! kernel's buffers. A caller, or any other thread that gave the engine an input, writes itself
//! only if no more than a few kilobytes are unanswered, which the kernel's buffers take at once:
//! the server has read everything that is answered. All other bytes are left to the writer thread,
//! which does nothing else.
//!
//! A thread that holds one of the two locks is in a [`Scope`]: application code may call the cache,
//! so it runs later.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::Duration;
#[cfg(unix)]
use std::time::Instant;

use redcache_adapter::{BusyPoll, Channel, LONG_READ, READ_BUFFER, Scope};
use redcache_core::engine::{ConnId, Engine, LongValue, Received};

use crate::socket::Socket;

/// The number of unread bytes that a connection takes without blocking, on any system.
pub(crate) const DIRECT_MAX: usize = 16 << 10;
/// The largest number of bytes that are written without a report of progress to the engine.
const PART_MAX: usize = 64 << 10;
/// A write buffer that has grown beyond this size is freed once it is written.
const WRITE_BUFFER_KEPT: usize = 256 << 10;

/// A connection as the shared state knows it.
pub(crate) struct Connection {
    pub(crate) io: Arc<ConnectionIo>,
    pub(crate) writer: Thread,
}

impl Connection {
    pub(crate) fn id(&self) -> ConnId {
        self.io.conn
    }

    /// End both threads of the connection.
    pub(crate) fn hang_up(&self) {
        self.io.socket.shut_down();
        self.writer.unpark();
    }
}

/// The socket of a connection and its buffers.
pub(crate) struct ConnectionIo {
    pub(crate) conn: ConnId,
    channel: Channel,
    socket: Socket,
    /// Held by the thread that reads. No caller waits for it.
    inbound: Mutex<Inbound>,
    /// Held by the thread that writes. No thread waits for it under the engine's lock.
    unwritten: Mutex<Vec<u8>>,
    /// The error that ended the connection.
    failure: OnceLock<io::Error>,
    /// The thread that writes.
    writer: OnceLock<Thread>,
}

/// The receiving half of a connection.
struct Inbound {
    buffer: Vec<u8>,
    /// The decrypted bytes, if the connection is encrypted.
    plaintext: Vec<u8>,
    long_value: LongValue,
    #[cfg_attr(not(unix), expect(dead_code, reason = "the socket cannot be polled"))]
    busy_poll: BusyPoll,
}

impl ConnectionIo {
    pub(crate) fn new(conn: ConnId, channel: Channel, socket: Socket, busy_poll: Duration) -> Self {
        let busy_poll = BusyPoll::new(busy_poll);
        let inbound = Inbound {
            buffer: vec![0; READ_BUFFER],
            plaintext: Vec::new(),
            long_value: LongValue::default(),
            busy_poll,
        };
        Self {
            conn,
            channel,
            socket,
            inbound: Mutex::new(inbound),
            unwritten: Mutex::default(),
            failure: OnceLock::new(),
            writer: OnceLock::new(),
        }
    }

    /// Set the thread that writes, once.
    pub(crate) fn set_writer(&self, writer: &Thread) {
        // There is one writer for a connection.
        let _ = self.writer.set(writer.clone());
    }

    /// Decrypt bytes that were read, and pass them to `on_bytes`. Return its result; `None` if the
    /// connection must end.
    fn open<T>(
        &self,
        inbound: &mut Inbound,
        count: usize,
        on_bytes: impl for<'b> FnOnce(Received<'b>) -> (Received<'b>, T),
    ) -> Option<T> {
        let Inbound { buffer, plaintext, long_value, .. } = inbound;
        match self.channel.open(&buffer[..count], plaintext) {
            Ok(bytes) => {
                let result = long_value.receive(bytes, on_bytes);
                if self.channel.has_output() {
                    self.writer.get().inspect(|writer| writer.unpark());
                }
                Some(result)
            }
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    fn fail(&self, error: io::Error) {
        // Only the first failure counts.
        let _ = self.failure.set(error);
        self.socket.shut_down();
    }

    /// Read in the thread of a caller until `is_done`, or until the polling policy gives up. This
    /// saves two wake-ups: of the reader thread, and then of the caller. The reader thread reads
    /// the rest, and sees the end of the connection.
    #[cfg(unix)]
    pub(crate) fn poll_for_reply(
        &self,
        on_bytes: impl for<'b> Fn(Received<'b>) -> (Received<'b>, ()),
        is_done: impl Fn() -> bool,
    ) {
        let _scope = Scope::enter();
        let Ok(mut inbound) = self.inbound.try_lock() else { return };
        if !inbound.busy_poll.begin(Instant::now()) {
            return;
        }
        while !is_done() {
            match self.socket.read_now(&mut inbound.buffer) {
                Ok(Some(count)) if count > 0 => {
                    let now = Instant::now();
                    inbound.busy_poll.on_found(now);
                    inbound.busy_poll.begin(now);
                    if self.open(&mut inbound, count, &on_bytes).is_none() {
                        return;
                    }
                }
                Ok(None) if inbound.busy_poll.goes_on(Instant::now()) => thread::yield_now(),
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Return at once: this system cannot read a socket without waiting.
    #[cfg(not(unix))]
    pub(crate) fn poll_for_reply(
        &self,
        _: impl for<'b> Fn(Received<'b>) -> (Received<'b>, ()),
        _: impl Fn() -> bool,
    ) {
    }

    /// Read until the connection ends or `on_bytes` returns `false`. Return the reason of the end.
    pub(crate) fn read_all(
        &self,
        mut on_bytes: impl for<'b> FnMut(Received<'b>) -> (Received<'b>, bool),
    ) -> String {
        let mut was_long = false;
        loop {
            if was_long {
                thread::yield_now();
            }
            let readable = self.socket.wait_readable();
            let _scope = Scope::enter();
            let mut inbound = self.inbound.lock().unwrap_or_else(PoisonError::into_inner);
            let read = readable.and_then(|()| self.socket.read_now(&mut inbound.buffer));
            let failure = match read {
                // A caller has read the bytes first.
                Ok(None) => continue,
                Ok(Some(0)) => self.channel.lost("the server closed the connection"),
                Ok(Some(count)) => match self.open(&mut inbound, count, &mut on_bytes) {
                    Some(true) => {
                        was_long = count > LONG_READ;
                        continue;
                    }
                    Some(false) => return "the connection was given up".to_owned(),
                    None => "the encryption failed".to_owned(),
                },
                Err(error) => self.channel.lost(error),
            };
            return self.failure.get().map_or(failure, io::Error::to_string);
        }
    }

    /// Take the bytes that the engine has for an idle connection, if they are few. Return `None` to
    /// leave them to the writer thread.
    pub(crate) fn claim(&self, engine: &mut Engine) -> Option<MutexGuard<'_, Vec<u8>>> {
        let mut unwritten = match self.unwritten.try_lock() {
            Ok(unwritten) => unwritten,
            Err(TryLockError::Poisoned(unwritten)) => unwritten.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if !unwritten.is_empty() {
            return None;
        }
        engine.take_transmit(self.conn, &mut unwritten);
        // Encrypt at once, so that bytes never wait here unencrypted.
        self.seal(&mut unwritten);
        (unwritten.len() <= DIRECT_MAX).then_some(unwritten)
    }

    /// Write bytes that were taken from the engine. After a failure nothing more is written, and
    /// the reader thread finds the connection ended.
    pub(crate) fn write(&self, unwritten: &mut Vec<u8>) {
        self.write_in_parts(unwritten, || {});
    }

    fn write_in_parts(&self, unwritten: &mut Vec<u8>, on_progress: impl Fn()) {
        for (number, part) in unwritten.chunks(PART_MAX).enumerate() {
            if number > 0 {
                on_progress();
            }
            if self.failure.get().is_none()
                && let Err(error) = self.socket.write_all(part)
            {
                self.fail(error);
            }
        }
        unwritten.clear();
        if unwritten.capacity() > WRITE_BUFFER_KEPT {
            *unwritten = Vec::new();
        }
    }

    /// Write the bytes that are left, then call `refill` for more. Return the result of `refill`,
    /// and whether there are more. `on_progress` is called whenever the socket has taken a part.
    pub(crate) fn write_rest<T>(
        &self,
        on_progress: impl Fn(),
        refill: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> (T, bool) {
        let _scope = Scope::enter();
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_in_parts(&mut unwritten, on_progress);
        let result = refill(&mut unwritten);
        self.seal(&mut unwritten);
        (result, !unwritten.is_empty())
    }

    fn seal(&self, unwritten: &mut Vec<u8>) {
        if let Err(error) = self.channel.seal(unwritten) {
            self.fail(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use redcache_core::Config;
    use redcache_core::engine::{Event, Seed};

    use super::*;

    fn engine_that_dials() -> (Engine, ConnId) {
        let config = Config::from_url("redis://localhost").unwrap();
        let seed = Seed::new([7; 32], 0);
        let mut engine = Engine::new(Instant::now(), &seed, config);
        let Some(Event::Dial { conn, .. }) = engine.poll_event() else { panic!("no dial") };
        (engine, conn)
    }

    #[test]
    fn bytes_left_to_the_writer_are_neither_overtaken_nor_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut engine, conn) = engine_that_dials();
        engine.handle_connected(Instant::now(), conn);
        let io = ConnectionIo::new(conn, Channel::plain(), Socket::Tcp(socket), Duration::ZERO);
        io.unwritten.lock().unwrap().extend_from_slice(b"left");
        assert!(io.claim(&mut engine).is_none());
        assert_eq!(engine.transmits().next().map(|transmit| transmit.conn), Some(conn));
        let mut unwritten = io.unwritten.lock().unwrap();
        assert_eq!(*unwritten, b"left");
        assert!(io.claim(&mut engine).is_none());
        io.write(&mut unwritten);
        drop(unwritten);
        assert!(io.claim(&mut engine).is_some_and(|taken| taken.starts_with(b"*")));
        assert_eq!(engine.transmits().next(), None);
    }

    #[test]
    fn a_large_write_buffer_is_freed_once_it_is_written() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_engine, conn) = engine_that_dials();
        let io = ConnectionIo::new(conn, Channel::plain(), Socket::Tcp(socket), Duration::ZERO);
        let mut unwritten = Vec::with_capacity(WRITE_BUFFER_KEPT + 1);
        unwritten.extend_from_slice(b"PING");
        io.write(&mut unwritten);
        assert_eq!(unwritten.capacity(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn each_part_of_a_large_write_is_reported_as_progress() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let reader = thread::spawn(move || io::copy(&mut theirs, &mut io::sink()).unwrap());
        let (_engine, conn) = engine_that_dials();
        let io = ConnectionIo::new(conn, Channel::plain(), Socket::Unix(ours), Duration::ZERO);
        io.write_rest(
            || panic!("nothing is written"),
            |unwritten| {
                unwritten.resize(4 * PART_MAX, b'v');
            },
        );
        let parts = std::cell::Cell::new(1);
        io.write_rest(|| parts.set(parts.get() + 1), |_| ());
        assert_eq!(parts.get(), 4);
        drop(io);
        assert_eq!(reader.join().unwrap(), 4 * PART_MAX as u64);
    }

    #[cfg(unix)]
    #[test]
    fn a_write_that_fails_ends_the_connection_for_its_reader_too() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let (_engine, conn) = engine_that_dials();
        let io = ConnectionIo::new(conn, Channel::plain(), Socket::Unix(ours), Duration::ZERO);
        assert_eq!(io.socket.read_now(&mut [0; 8]).unwrap(), None);
        io.write(&mut b"PING".to_vec());
        assert!(io.failure.get().is_some());
        assert_eq!(io.socket.read_now(&mut [0; 8]).unwrap(), Some(0));
    }
}
