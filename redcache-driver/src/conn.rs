//! One task per socket: bytes in, bytes out.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};
use redcache_adapter::BusyPoll;
use redcache_core::{Config, ConnId, Engine};

use crate::runtime::Runtime;
use crate::shared::{Shared, State};
use crate::sync::{self, AtomicBool, Mutex, MutexGuard};

/// How much is read at once.
const READ_BUFFER: usize = 64 << 10;
/// After so many looks for an answer, of about two microseconds each, the task lets others run.
const PAUSES_MAX: u8 = 16;
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
    /// The task of the connection, once it has begun.
    waker: Option<Waker>,
    /// The task will look at the shared state without being woken.
    is_awake: bool,
    busy_poll: BusyPoll,
}

impl<R: Runtime> Line<R> {
    pub(crate) fn new(link: Arc<Link<R>>, config: &Config) -> Self {
        Self { link, waker: None, is_awake: true, busy_poll: BusyPoll::new(config.busy_poll()) }
    }

    /// What wakes the task of the connection, whether it needs that or not.
    pub(crate) fn waker(&self) -> Option<&Waker> {
        self.waker.as_ref()
    }

    /// Gives what is to be woken for the task to look at the shared state, unless it will anyway.
    pub(crate) fn rouse(&mut self) -> Option<Waker> {
        if std::mem::replace(&mut self.is_awake, true) { None } else { self.waker.clone() }
    }

    /// The same for the task to look for an answer, if that is worth it.
    pub(crate) fn rouse_to_poll(&mut self, now: Instant) -> Option<Waker> {
        if !self.is_awake && self.busy_poll.begin(now) { self.rouse() } else { None }
    }
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
    let mut task =
        Task { shared, link, reader, buffer: vec![0; READ_BUFFER], has_yielded: false, pauses: 0 };
    let reason = loop {
        match poll_fn(|cx| task.poll(cx)).await {
            Next::Yield => shared.runtime.yield_now().await,
            // Another thread may be what the answer waits for.
            Next::Pause => sync::yield_now(),
            Next::Failed(reason) => break Some(reason),
            Next::HungUp => break None,
        }
    };
    if let Some(reason) = reason {
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
    /// How often it has looked for an answer since other tasks had their turn.
    pauses: u8,
}

/// What becomes of the task of a connection.
enum Next {
    /// It goes on once other tasks had their turn.
    Yield,
    /// It looks for an answer again in a moment.
    Pause,
    Failed(String),
    HungUp,
}

/// What a look at the shared state says to the task of a connection.
enum Look {
    HungUp,
    /// There is nothing to write, and who has something will wake the task.
    Park,
    /// There is nothing to write, and an answer may come before the task could be woken for it.
    Poll,
    /// There is something to write.
    Write,
    /// There is something to write, and more may gather if others get their turn first.
    Gather,
}

impl<R: Runtime> Task<'_, R> {
    /// Reads until the socket is dry, writes until the engine is.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut look = match self.read(cx) {
            Err(reason) => return Poll::Ready(Next::Failed(reason)),
            Ok(Some(look)) => look,
            // It was woken for something else than bytes.
            Ok(None) => self.look(cx),
        };
        loop {
            match look {
                Look::HungUp => return Poll::Ready(Next::HungUp),
                Look::Gather if !self.has_yielded => {
                    self.has_yielded = true;
                    return Poll::Ready(Next::Yield);
                }
                Look::Park | Look::Poll if self.link.is_behind.load(Ordering::Acquire) => {}
                Look::Park => return Poll::Pending,
                Look::Poll => return Poll::Ready(self.pause()),
                Look::Write | Look::Gather => {}
            }
            self.has_yielded = false;
            if let Err(error) = ready!(self.link.poll_write_all(self.shared, cx)) {
                return Poll::Ready(Next::Failed(error.to_string()));
            }
            look = self.look(cx);
        }
    }

    fn pause(&mut self) -> Next {
        self.pauses = (self.pauses + 1) % PAUSES_MAX;
        if self.pauses == 0 { Next::Yield } else { Next::Pause }
    }

    fn look(&self, cx: &Context<'_>) -> Look {
        self.shared
            .step_in_conn(self.link.conn, |state, now| state.look(now, self.link, cx.waker()))
    }

    /// Reads until the socket is dry; `None` when it was dry already.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Option<Look>, String> {
        let mut look = None;
        for _ in 0..READS_MAX {
            match Pin::new(&mut self.reader).poll_read(cx, &mut self.buffer) {
                Poll::Ready(Ok(0)) => return Err("the server closed the connection".to_owned()),
                Poll::Ready(Ok(count)) => {
                    let bytes = &self.buffer[..count];
                    look = Some(self.shared.step_in_conn(self.link.conn, |state, now| {
                        state.engine.handle_read(now, self.link.conn, bytes);
                        state.on_bytes(now, self.link);
                        state.look(now, self.link, cx.waker())
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

impl<R: Runtime> State<R> {
    /// Bytes have come on a connection, and others may follow closely.
    fn on_bytes(&mut self, now: Instant, link: &Link<R>) {
        let is_awaited = self.engine.is_busier_than(0);
        if let Some(line) = self.line(link.conn)
            && line.busy_poll.on_found()
            && is_awaited
        {
            line.busy_poll.begin(now);
        }
    }

    /// Seats the waker under the same lock that looks for bytes, so that no wake-up is lost.
    fn look(&mut self, now: Instant, link: &Link<R>, waker: &Waker) -> Look {
        let has_bytes = self.engine.has_transmit(link.conn);
        let (is_awaited, is_quiet) = (self.engine.is_busier_than(0), self.engine.is_quiet());
        let Some(line) = self.line(link.conn) else { return Look::HungUp };
        match &line.waker {
            Some(seated) if seated.will_wake(waker) => {}
            _ => line.waker = Some(waker.clone()),
        }
        let polls = is_awaited && is_quiet && line.busy_poll.goes_on(now);
        line.is_awake = has_bytes || polls;
        match (has_bytes, is_quiet) {
            (false, _) if polls => Look::Poll,
            (false, _) => Look::Park,
            (true, true) => Look::Write,
            (true, false) => Look::Gather,
        }
    }
}
