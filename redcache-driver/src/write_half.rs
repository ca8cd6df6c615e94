//! The sending half of a connection. Its lock is held by the task that writes.
//!
//! The lock may be taken before the lock of the shared state, or tried while that lock is held.
//! Waiting for it while the shared state is locked would be a deadlock.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, TryLockError};
use std::task::{Context, Poll, Waker, ready};

use futures_io::AsyncWrite;
use redcache_adapter::Channel;
use redcache_core::engine::{ConnId, Engine};

use crate::any_runtime::Writer;
use crate::sync::{AtomicBool, Mutex, MutexGuard};

/// A write buffer that has grown beyond this size is freed once it is written.
const BUFFER_KEPT: usize = 256 << 10;

/// The sending half of a connection.
pub(crate) struct WriteHalf {
    pub(crate) conn: ConnId,
    /// Encrypts outgoing bytes; the task of the connection decrypts incoming ones with it.
    pub(crate) channel: Channel,
    state: Mutex<WriteState>,
    /// The socket did not take everything, so the task of the connection has to continue.
    is_behind: AtomicBool,
}

/// The socket, and the bytes that are being written to it.
pub(crate) struct WriteState {
    io: Writer,
    buffer: Vec<u8>,
    /// The number of bytes of the buffer that are written.
    written: usize,
    is_unflushed: bool,
    failure: Option<io::Error>,
}

impl WriteHalf {
    pub(crate) fn new(conn: ConnId, channel: Channel, io: Writer) -> Self {
        let state =
            WriteState { io, buffer: Vec::new(), written: 0, is_unflushed: false, failure: None };
        Self { conn, channel, state: Mutex::new(state), is_behind: AtomicBool::new(false) }
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Take the bytes that the engine has for this connection, unless another task is writing. The
    /// caller holds the lock of the shared state, so no other bytes can overtake these.
    pub(crate) fn claim(&self, engine: &mut Engine) -> Option<MutexGuard<'_, WriteState>> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if state.has_unwritten() || state.failure.is_some() {
            return None;
        }
        engine.take_transmit(self.conn, &mut state.buffer);
        // Encrypt at once, so that bytes never wait here unencrypted.
        state.failure = self.channel.seal(&mut state.buffer).err();
        Some(state)
    }

    /// Write claimed bytes in the caller's task. The bytes that the socket does not take are left
    /// to the task of the connection, which `waker` wakes.
    pub(crate) fn write_claimed(&self, state: &mut WriteState, waker: &Waker) {
        match state.poll_write(&mut Context::from_waker(waker)) {
            Poll::Ready(Ok(())) => return,
            Poll::Ready(Err(error)) => state.failure = Some(error),
            Poll::Pending => {}
        }
        self.is_behind.store(true, Ordering::Release);
        // The socket may have woken the task already, before the task could see that it has to
        // continue.
        waker.wake_by_ref();
    }

    /// Write until `refill`, which replaces the written buffer, returns `false`. Return `Pending`
    /// if the socket is full; it wakes `cx`. `on_progress` is called if the socket has taken a
    /// part.
    pub(crate) fn poll_write_all(
        &self,
        cx: &mut Context<'_>,
        on_progress: impl FnOnce(),
        mut refill: impl FnMut(&mut Vec<u8>) -> bool,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let before = state.written;
            let written = state.poll_write(cx);
            self.is_behind.store(written.is_pending(), Ordering::Release);
            if written.is_pending() {
                if state.written > before {
                    on_progress();
                }
                return Poll::Pending;
            }
            ready!(written)?;
            if !refill(&mut state.buffer) && !self.channel.has_output() {
                return Poll::Ready(Ok(()));
            }
            self.channel.seal(&mut state.buffer)?;
        }
    }
}

impl WriteState {
    fn has_unwritten(&self) -> bool {
        self.written < self.buffer.len() || self.is_unflushed
    }

    /// Write the whole buffer and empty it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Err(error));
        }
        while self.written < self.buffer.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.buffer[self.written..])) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.written += count;
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
        self.buffer.clear();
        self.written = 0;
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use redcache_core::Config;
    use redcache_core::engine::{Event, Seed};
    use shuttle::scheduler::PctScheduler;
    use shuttle::{Config as Checker, Runner};

    use super::*;

    /// The bytes of a 60 MiB value.
    const LARGE: usize = 60 << 20;

    /// Takes a part of the bytes, and then nothing until it is polled again.
    struct InParts {
        is_full: bool,
    }

    impl AsyncWrite for InParts {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.is_full = !self.is_full;
            if self.is_full { Poll::Ready(Ok(bytes.len().div_ceil(2))) } else { Poll::Pending }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn half_that_writes_to(io: impl AsyncWrite + Send + Unpin + 'static) -> WriteHalf {
        let config = Config::from_url("redis://localhost").unwrap();
        let mut engine = Engine::new(Instant::now(), &Seed::new([7; 32], 0), config);
        let Some(Event::Dial { conn, .. }) = engine.poll_event() else { panic!("no dial") };
        WriteHalf::new(conn, Channel::plain(), Box::new(io))
    }

    /// Run `scene` where the locks of the driver work.
    fn check(scene: impl Fn() + Send + Sync + 'static) {
        let mut checker = Checker::new();
        checker.stack_size = 1 << 20;
        Runner::new(PctScheduler::new_from_seed(1, 1, 1), checker).run(scene);
    }

    #[test]
    fn a_large_write_buffer_is_freed_once_a_caller_has_written_it() {
        check(|| {
            let half = half_that_writes_to(Vec::new());
            let mut state = half.state.lock().unwrap();
            state.buffer = vec![b'v'; LARGE];
            half.write_claimed(&mut state, Waker::noop());
            assert_eq!((state.has_unwritten(), state.buffer.capacity()), (false, 0));
            assert!(!half.is_behind());
        });
    }

    #[test]
    fn a_large_write_buffer_is_freed_once_the_task_has_written_its_last_part() {
        check(|| {
            let half = half_that_writes_to(InParts { is_full: false });
            let mut state = half.state.lock().unwrap();
            state.buffer = vec![b'v'; LARGE];
            half.write_claimed(&mut state, Waker::noop());
            assert!(half.is_behind() && state.buffer.capacity() >= LARGE);
            drop(state);
            let mut refilled = 0;
            let mut poll = || {
                let mut cx = Context::from_waker(Waker::noop());
                half.poll_write_all(
                    &mut cx,
                    || {},
                    |buffer| {
                        assert_eq!(buffer.capacity(), 0);
                        refilled += 1;
                        if refilled == 1 {
                            buffer.resize(LARGE, b'v');
                        }
                        refilled == 1
                    },
                )
            };
            while poll().is_pending() {}
            assert_eq!(refilled, 2);
            let state = half.state.lock().unwrap();
            assert_eq!((state.has_unwritten(), state.buffer.capacity()), (false, 0));
        });
    }

    #[test]
    fn a_small_write_buffer_is_kept() {
        check(|| {
            let half = half_that_writes_to(Vec::new());
            let mut state = half.state.lock().unwrap();
            state.buffer = vec![b'v'; BUFFER_KEPT];
            half.write_claimed(&mut state, Waker::noop());
            assert_eq!(state.buffer.capacity(), BUFFER_KEPT);
        });
    }
}
