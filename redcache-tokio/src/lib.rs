//! redcache on tokio: cache-aside for Redis, with a near cache in this process and one load across the whole fleet.
//!
//! # Examples
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let cache = redcache_tokio::Cache::connect("redis://localhost:6379").await?;
//! let answer = cache
//!     .get_with("user:42", Duration::from_secs(60), || async {
//!         // Ask the database; `None` would be remembered as not found.
//!         Ok::<_, std::io::Error>(Some("Ada"))
//!     })
//!     .await?;
//! println!("{:?} from {}", answer.value, answer.source.as_str());
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

use std::future::Future;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

pub use redcache_driver::*;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

/// The cache, on tokio.
pub type Cache = redcache_driver::Cache<Tokio>;

/// The tokio runtime that is current where a cache is opened.
#[derive(Debug, Clone)]
pub struct Tokio(tokio::runtime::Handle);

impl Default for Tokio {
    /// Takes the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    fn default() -> Self {
        Self(tokio::runtime::Handle::current())
    }
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

impl Runtime for Tokio {
    type Reader = Compat<Reader>;
    type Writer = Compat<Writer>;

    async fn connect(&self, address: &Address) -> io::Result<(Self::Reader, Self::Writer)> {
        let (reader, writer): (Reader, Writer) = match address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                (Box::new(Prompt::<_, TcpStream>::new(reader)), Box::new(writer))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                (Box::new(Prompt::<_, UnixStream>::new(reader)), Box::new(writer))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok((reader.compat(), writer.compat_write()))
    }

    async fn sleep_until(&self, at: Instant) {
        tokio::time::sleep_until(at.into()).await;
    }

    async fn yield_now(&self) {
        tokio::task::yield_now().await;
    }

    fn coarse_now(&self) -> Instant {
        coarse_now()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }
}

/// Asks the socket of a half `H` of a stream `S` itself once tokio knows of no bytes: tokio learns of them only when
/// one of its threads waits for sockets.
struct Prompt<H, S> {
    half: H,
    stream: PhantomData<fn() -> S>,
}

impl<H, S> Prompt<H, S> {
    fn new(half: H) -> Self {
        Self { half, stream: PhantomData }
    }
}

impl<H, S> AsyncRead for Prompt<H, S>
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

/// Compiles the example of the README with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
