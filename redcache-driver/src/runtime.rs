//! The trait by which a runtime, or a transport to the server, is plugged into the driver.

use std::future::{Future, poll_fn, ready};
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use redcache_core::Address;

/// An async runtime with its sockets and its clock.
///
/// The driver polls reader and writer from different tasks, so a stream is split into two halves.
/// Dropping both halves must close the connection. A transport that buffers, such as TLS, must
/// write everything in `poll_flush`.
///
/// # Examples
///
/// A custom transport, on the tasks and timers of an existing runtime. `tests/pipe.rs` of
/// `redcache-driver` is a longer example, with streams in memory.
///
/// ```
/// # use redcache_driver::{Address, Cache, Error, Runtime};
/// use std::future::Future;
/// use std::io;
/// use std::time::{Duration, Instant};
///
/// /// Reaches every server through the near end of a tunnel.
/// struct Tunneled<R>(R);
///
/// impl<R: Runtime> Runtime for Tunneled<R> {
///     type Reader = R::Reader;
///     type Writer = R::Writer;
///
///     async fn connect(
///         &self,
///         _: &Address,
///         timeout: Duration,
///     ) -> io::Result<(R::Reader, R::Writer)> {
///         self.0.connect(&Address::Unix("/run/tunnel.sock".into()), timeout).await
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
///
/// async fn connect(runtime: impl Runtime) -> Result<Cache, Error> {
///     Cache::connect_on(Tunneled(runtime), "redis://redis.internal:6379").await
/// }
/// ```
pub trait Runtime: Send + Sync + 'static {
    /// The receiving half of a connection.
    type Reader: AsyncRead + Send + Unpin + 'static;
    /// The sending half of a connection.
    type Writer: AsyncWrite + Send + Unpin + 'static;

    /// Return the addresses that a host name resolves to, as IP addresses. See
    /// [`address_of`](crate::address_of).
    ///
    /// They are tried in this order, except that one whose server has accepted a connection and did
    /// not answer comes last. By default, this is `address` itself, and
    /// [`connect`](Self::connect) resolves it.
    ///
    /// # Errors
    ///
    /// Fails if the name cannot be resolved. The text of the error reaches the callers.
    fn resolve(&self, address: &Address) -> impl Future<Output = io::Result<Vec<Address>>> + Send {
        ready(Ok(vec![address.clone()]))
    }

    /// Connect to `address`. The future is dropped after `timeout`.
    ///
    /// A host name may have several addresses. [`connect_any`](crate::connect_any) tries each of
    /// them.
    ///
    /// # Errors
    ///
    /// Fails if the connection cannot be established. The text of the error reaches the callers.
    fn connect(
        &self,
        address: &Address,
        timeout: Duration,
    ) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer)>> + Send;

    /// Wait until `at`, which may lie in the past.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send;

    /// Run `task` to its end, independently of the caller.
    ///
    /// A runtime that has ended must drop the task. The cache is closed then.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Let other tasks run.
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

    /// Return the current instant.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Return an instant at or shortly after the current one. Entries of the near cache expire by
    /// it.
    ///
    /// A runtime that follows the system's clock can return [`coarse_now`](crate::coarse_now),
    /// which is cheaper to read than `now`.
    fn coarse_now(&self) -> Instant {
        self.now()
    }

    /// Return `true` if [`coarse_now`](Self::coarse_now) is [`coarse_now()`](crate::coarse_now) of
    /// this crate at present. A near hit is cheaper then.
    fn follows_system_clock(&self) -> bool {
        false
    }
}
