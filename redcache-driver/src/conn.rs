//! One task per socket: bytes in, bytes out.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker, ready};

use futures_io::{AsyncRead, AsyncWrite};
use redcache_core::ConnId;

use crate::runtime::Runtime;
use crate::shared::Shared;

/// How much is read at once.
const READ_BUFFER: usize = 64 << 10;
/// After so many reads in a row the task lets others run.
const READS_MAX: usize = 32;

/// The sending half of a connection. Whoever holds its lock writes.
pub(crate) struct Link<R: Runtime> {
    pub(crate) conn: ConnId,
    side: Mutex<Side<R::Writer>>,
}

/// A connection as the shared state knows it.
pub(crate) struct Line<R: Runtime> {
    pub(crate) link: Arc<Link<R>>,
    /// The parked task of the connection.
    pub(crate) waker: Option<Waker>,
}

struct Side<W> {
    io: W,
    buffer: Vec<u8>,
    /// How much of the buffer is written.
    at: usize,
    failure: Option<io::Error>,
}

impl<R: Runtime> Link<R> {
    pub(crate) fn new(conn: ConnId, io: R::Writer) -> Self {
        let side = Side { io, buffer: Vec::new(), at: 0, failure: None };
        Self { conn, side: Mutex::new(side) }
    }

    /// Writes in the caller's own turn, without a task switch. What the socket does not take is left to the task of
    /// the connection, whose `waker` it is.
    pub(crate) fn write_now(&self, shared: &Shared<R>, waker: &Waker) {
        let mut side = match self.side.try_lock() {
            Ok(side) => side,
            Err(TryLockError::Poisoned(side)) => side.into_inner(),
            // Whoever writes may have looked for more just before there was more.
            Err(TryLockError::WouldBlock) => return waker.wake_by_ref(),
        };
        let mut cx = Context::from_waker(waker);
        if let Poll::Ready(Err(error)) = side.poll_write_all(self.conn, shared, &mut cx) {
            side.failure = Some(error);
            waker.wake_by_ref();
        }
    }

    fn side(&self) -> MutexGuard<'_, Side<R::Writer>> {
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: AsyncWrite + Unpin> Side<W> {
    /// Writes until the engine has no more bytes. `Pending`: the socket is full, and `cx` will be woken.
    fn poll_write_all<R: Runtime>(
        &mut self,
        conn: ConnId,
        shared: &Shared<R>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Err(error));
        }
        let mut written = false;
        loop {
            while self.at < self.buffer.len() {
                match ready!(Pin::new(&mut self.io).poll_write(cx, &self.buffer[self.at..])) {
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Ok(count) => self.at += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
                written = true;
            }
            self.at = 0;
            if !shared.lock().engine.take_transmit(conn, &mut self.buffer) {
                break;
            }
        }
        if written { Pin::new(&mut self.io).poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }
}

/// Carries bytes until the connection ends, and reports that.
pub(crate) async fn run<R: Runtime>(shared: &Shared<R>, link: &Link<R>, mut reader: R::Reader) {
    let mut buffer = vec![0; READ_BUFFER];
    let end = poll_fn(|cx| poll_conn(shared, link, &mut reader, &mut buffer, cx)).await;
    if let Some(reason) = end {
        shared.step(|state, now| {
            state.lines.retain(|line| line.link.conn != link.conn);
            state.engine.handle_disconnected(now, link.conn, &reason);
        });
    }
}

/// Reads until the socket is dry, writes until the engine is, parks. Ends with the reason, or with none when it was
/// hung up.
fn poll_conn<R: Runtime>(
    shared: &Shared<R>,
    link: &Link<R>,
    reader: &mut R::Reader,
    buffer: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<Option<String>> {
    loop {
        if let Some(end) = read(shared, link.conn, reader, buffer, cx) {
            return Poll::Ready(Some(end));
        }
        let blocked = match link.side().poll_write_all(link.conn, shared, cx) {
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => return Poll::Ready(Some(error.to_string())),
            Poll::Pending => true,
        };
        // Parked under the same lock that saw no bytes, so no wake-up is lost.
        let mut state = shared.lock();
        let more = state.engine.poll_transmit() == Some(link.conn) && !blocked;
        let Some(line) = state.line(link.conn) else {
            return Poll::Ready(None);
        };
        if more {
            continue;
        }
        match &line.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => line.waker = Some(cx.waker().clone()),
        }
        return Poll::Pending;
    }
}

fn read<R: Runtime>(
    shared: &Shared<R>,
    conn: ConnId,
    reader: &mut R::Reader,
    buffer: &mut [u8],
    cx: &mut Context<'_>,
) -> Option<String> {
    for _ in 0..READS_MAX {
        match Pin::new(&mut *reader).poll_read(cx, buffer) {
            Poll::Ready(Ok(0)) => return Some("the server closed the connection".to_owned()),
            Poll::Ready(Ok(count)) => shared.step_in_conn(|state, now| {
                state.engine.handle_read(now, conn, &buffer[..count]);
            }),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(Err(error)) => return Some(error.to_string()),
            Poll::Pending => return None,
        }
    }
    cx.waker().wake_by_ref();
    None
}
