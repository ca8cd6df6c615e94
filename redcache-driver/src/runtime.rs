//! What the driver needs of an async runtime, and of the transport to the server.

use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};
use redcache_core::Address;

/// An async runtime with its sockets: motions and no decision.
///
/// The driver polls reader and writer from different tasks, so a stream comes in two halves. Dropping both must close
/// the connection. A transport that buffers (TLS, for one) must be written through by `poll_flush`.
///
/// # Examples
///
/// A transport of one's own, on the tasks and timers of a runtime that is there already. `tests/pipe.rs` of this crate
/// goes further, with streams of its own in memory.
///
/// ```
/// use std::future::Future;
/// use std::io;
/// use std::time::Instant;
///
/// use redcache_driver::{Address, Runtime};
///
/// /// Reaches every server through the near end of a tunnel.
/// #[derive(Clone)]
/// struct Tunneled<R>(R);
///
/// impl<R: Runtime> Runtime for Tunneled<R> {
///     type Reader = R::Reader;
///     type Writer = R::Writer;
///
///     async fn connect(&self, _: &Address) -> io::Result<(R::Reader, R::Writer)> {
///         self.0.connect(&Address::Unix("/run/tunnel.sock".into())).await
///     }
///
///     async fn sleep_until(&self, at: Instant) {
///         self.0.sleep_until(at).await;
///     }
///
///     fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
///         self.0.spawn(task);
///     }
/// }
/// ```
pub trait Runtime: Clone + Send + Sync + 'static {
    /// The receiving half of a connection.
    type Reader: AsyncRead + Send + Unpin + 'static;
    /// The sending half of a connection.
    type Writer: AsyncWrite + Send + Unpin + 'static;

    /// Connects to `address`. There is no need for a timeout of its own; the future is dropped when it takes longer
    /// than `connect_timeout`.
    ///
    /// # Errors
    ///
    /// Whatever keeps the connection from being made; the text reaches the callers.
    fn connect(
        &self,
        address: &Address,
    ) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer)>> + Send;

    /// Waits until `at`, which may have passed already.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send;

    /// Runs `task` to its end, independently of the caller.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Lets other tasks run.
    fn yield_now(&self) -> impl Future<Output = ()> + Send {
        let mut has_yielded = false;
        poll_fn(move |cx| {
            if std::mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Gives the current instant.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Gives an instant that may be a little later than the current one, and never earlier. By it copies in this process
    /// expire. A runtime that goes by the system's clock may answer with [`coarse_now`](crate::coarse_now), which takes less
    /// time than `now`.
    fn coarse_now(&self) -> Instant {
        self.now()
    }
}
