//! One task per socket: bytes in, bytes out.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker, ready};

use futures_io::{AsyncRead, AsyncWrite};
use redcache_core::{ConnId, Engine};

use crate::runtime::Runtime;
use crate::shared::{Shared, State};

/// How much is read at once.
const READ_BUFFER: usize = 64 << 10;
/// After so many reads in a row the task lets others run.
const READS_MAX: usize = 32;

/// The sending half of a connection. Whoever holds its lock writes.
///
/// It may be locked before the shared state or tried within; waiting for it within would be a deadlock.
pub(crate) struct Link<R: Runtime> {
    pub(crate) conn: ConnId,
    side: Mutex<Side<R::Writer>>,
    /// The socket did not take everything; the task of the connection goes on with it.
    is_behind: AtomicBool,
}

/// A connection as the shared state knows it.
pub(crate) struct Line<R: Runtime> {
    pub(crate) link: Arc<Link<R>>,
    /// The task of the connection, unless it has been woken already.
    pub(crate) waker: Option<Waker>,
}

/// The socket, and what is being written to it.
pub(crate) struct Side<W> {
    io: W,
    buffer: Vec<u8>,
    /// How much of the buffer is written.
    at: usize,
    is_unflushed: bool,
    failure: Option<io::Error>,
}

impl<R: Runtime> Link<R> {
    pub(crate) fn new(conn: ConnId, io: R::Writer) -> Self {
        let side = Side { io, buffer: Vec::new(), at: 0, is_unflushed: false, failure: None };
        Self { conn, side: Mutex::new(side), is_behind: AtomicBool::new(false) }
    }

    /// Takes what the engine has to write, unless somebody is writing. The shared state is locked, so nobody gets ahead
    /// of these bytes.
    pub(crate) fn claim(&self, engine: &mut Engine) -> Option<MutexGuard<'_, Side<R::Writer>>> {
        let mut side = match self.side.try_lock() {
            Ok(side) => side,
            Err(TryLockError::Poisoned(side)) => side.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if side.at < side.buffer.len() || side.is_unflushed || side.failure.is_some() {
            return None;
        }
        side.at = 0;
        engine.take_transmit(self.conn, &mut side.buffer);
        Some(side)
    }

    /// Writes what was claimed in the caller's own turn, without a task switch. What the socket does not take is left
    /// to the task of the connection, whose `waker` it is.
    pub(crate) fn write_claimed(&self, side: &mut Side<R::Writer>, waker: &Waker) {
        match side.poll_write(&mut Context::from_waker(waker)) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                side.failure = Some(error);
                self.is_behind.store(true, Ordering::Release);
                waker.wake_by_ref();
            }
            // The socket will wake the task.
            Poll::Pending => self.is_behind.store(true, Ordering::Release),
        }
    }

    /// Writes until the engine has no more bytes. `Pending`: the socket is full, and `cx` will be woken.
    fn poll_write_all(&self, shared: &Shared<R>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut side = self.side.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let written = side.poll_write(cx);
            self.is_behind.store(written.is_pending(), Ordering::Release);
            ready!(written)?;
            side.at = 0;
            if !shared.lock().engine.take_transmit(self.conn, &mut side.buffer) {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<W: AsyncWrite + Unpin> Side<W> {
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Err(error));
        }
        while self.at < self.buffer.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.buffer[self.at..])) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.at += count;
                    self.is_unflushed = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Carries bytes until the connection ends, and reports that.
pub(crate) async fn run<R: Runtime>(shared: &Shared<R>, link: &Link<R>, reader: R::Reader) {
    let mut task = Task { shared, link, reader, buffer: vec![0; READ_BUFFER], has_yielded: false };
    if let Some(reason) = poll_fn(|cx| task.poll(cx)).await {
        shared.step(|state, now| {
            state.lines.retain(|line| line.link.conn != link.conn);
            state.engine.handle_disconnected(now, link.conn, &reason);
        });
    }
}

struct Task<'a, R: Runtime> {
    shared: &'a Shared<R>,
    link: &'a Link<R>,
    reader: R::Reader,
    buffer: Vec<u8>,
    has_yielded: bool,
}

/// What a look at the shared state says to the task of a connection.
enum Look {
    HungUp,
    /// There is nothing to write, and who has something will wake the task.
    Park,
    /// There is something to write.
    Write,
    /// There is something to write, and more may gather if others get their turn first.
    Gather,
}

impl<R: Runtime> Task<'_, R> {
    /// Reads until the socket is dry, writes until the engine is. Ends with the reason, or with none when it was hung
    /// up.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        let look = match self.read(cx) {
            Err(reason) => return Poll::Ready(Some(reason)),
            Ok(Some(look)) => look,
            // It was woken for something else than bytes.
            Ok(None) => self.shared.step_in_conn(|state, _| state.look(self.link, cx.waker())),
        };
        match look {
            Look::HungUp => return Poll::Ready(None),
            Look::Gather if !self.has_yielded => {
                self.has_yielded = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Look::Park if !self.link.is_behind.load(Ordering::Acquire) => return Poll::Pending,
            Look::Park | Look::Write | Look::Gather => {}
        }
        self.has_yielded = false;
        match self.link.poll_write_all(self.shared, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Some(error.to_string())),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Reads until the socket is dry; `None` when it was dry already.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Option<Look>, String> {
        let mut look = None;
        for _ in 0..READS_MAX {
            match Pin::new(&mut self.reader).poll_read(cx, &mut self.buffer) {
                Poll::Ready(Ok(0)) => return Err("the server closed the connection".to_owned()),
                Poll::Ready(Ok(count)) => {
                    let bytes = &self.buffer[..count];
                    look = Some(self.shared.step_in_conn(|state, now| {
                        state.engine.handle_read(now, self.link.conn, bytes);
                        state.look(self.link, cx.waker())
                    }));
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(error.to_string()),
                Poll::Pending => return Ok(look),
            }
        }
        cx.waker().wake_by_ref();
        Ok(look)
    }
}

/// Up to so many commands under way, the bytes of the next are not worth waiting for.
const LONE_COMMANDS_MAX: usize = 2;

impl<R: Runtime> State<R> {
    /// Seats the waker under the same lock that looks for bytes, so that no wake-up is lost.
    fn look(&mut self, link: &Link<R>, waker: &Waker) -> Look {
        let has_bytes = self.engine.poll_transmit() == Some(link.conn);
        let is_busy = self.engine.in_flight() > LONE_COMMANDS_MAX;
        let Some(line) = self.line(link.conn) else { return Look::HungUp };
        match &line.waker {
            Some(seated) if seated.will_wake(waker) => {}
            _ => line.waker = Some(waker.clone()),
        }
        match (has_bytes, is_busy) {
            (false, _) => Look::Park,
            (true, false) => Look::Write,
            (true, true) => Look::Gather,
        }
    }
}
