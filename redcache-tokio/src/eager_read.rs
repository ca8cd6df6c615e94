//! Reads that ask the socket itself.

use std::io::{self, Read};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};

/// A half `H` of a stream `S` that reads from the socket even if tokio knows of no bytes: tokio
/// learns of them only when one of its threads waits for sockets.
pub(crate) struct EagerRead<H, S> {
    half: H,
    stream: PhantomData<fn() -> S>,
}

impl<H, S> EagerRead<H, S> {
    pub(crate) fn new(half: H) -> Self {
        Self { half, stream: PhantomData }
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
        if let ready @ Poll::Ready(_) = Pin::new(&mut self.half).poll_read(cx, buf) {
            return ready;
        }
        match (&*SockRef::from(self.half.as_ref())).read(buf.initialize_unfilled()) {
            Ok(count) => {
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}
