//! redcache on async-std: cache-aside for Redis, with a near cache in this process and one load across the whole fleet.
//!
//! async-std itself is discontinued; its own recommendation is smol, for which there is `redcache-smol` with the same
//! calls. This crate serves those who have not moved yet.
//!
//! # Examples
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let cache = redcache_async_std::Cache::connect("redis://localhost:6379").await?;
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
use std::io;
use std::time::Instant;

use async_std::net::TcpStream;
#[cfg(unix)]
use async_std::os::unix::net::UnixStream;
use futures_io::{AsyncRead, AsyncWrite};
pub use redcache_driver::*;

/// The cache, on async-std.
pub type Cache = redcache_driver::Cache<AsyncStd>;

/// The global runtime of async-std.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsyncStd;

impl Runtime for AsyncStd {
    type Reader = Box<dyn AsyncRead + Send + Unpin>;
    type Writer = Box<dyn AsyncWrite + Send + Unpin>;

    async fn connect(&self, address: &Address) -> io::Result<(Self::Reader, Self::Writer)> {
        match address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream.clone()), Box::new(stream)))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                Ok((Box::new(stream.clone()), Box::new(stream)))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    async fn sleep_until(&self, at: Instant) {
        async_std::task::sleep(at.saturating_duration_since(self.now())).await;
    }

    fn coarse_now(&self) -> Instant {
        coarse_now()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        async_std::task::spawn(task);
    }
}
