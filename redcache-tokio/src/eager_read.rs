//! Reads that try the socket without waiting for tokio's readiness.

use std::io::{self, Read};
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};

/// A half `H` of a stream `S` that reads from the socket even if tokio does not know that it is
/// readable: tokio learns this only when one of its threads polls for I/O events.
pub(crate) struct EagerRead<H, S> {
    half: H,
    /// The last read has emptied the socket, so the next one waits until tokio reports it as
    /// readable.
    was_emptied: bool,
    stream: PhantomData<fn() -> S>,
}

impl<H, S> EagerRead<H, S> {
    pub(crate) fn new(half: H) -> Self {
        Self { half, was_emptied: false, stream: PhantomData }
    }
}

impl<H, S> AsyncRead for EagerRead<H, S>
where
    H: AsyncRead + AsRef<S> + Unpin,
    for<'s> SockRef<'s>: From<&'s S>,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        let mut read = Pin::new(&mut self.half).poll_read(cx, buf);
        if read.is_pending() && !mem::take(&mut self.was_emptied) {
            read = match (&*SockRef::from(self.half.as_ref())).read(buf.initialize_unfilled()) {
                Ok(count) => {
                    buf.advance(count);
                    Poll::Ready(Ok(()))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            };
        }
        if read.is_ready() {
            self.was_emptied = 0 < buf.remaining() && buf.remaining() < room;
        }
        read
    }
}
