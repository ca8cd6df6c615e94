//! redcache on smol: cache-aside for Redis, with a near cache in this process and one load across the whole fleet.
//!
//! # Examples
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let cache = redcache_smol::Cache::connect("redis://localhost:6379").await?;
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

use futures_io::{AsyncRead, AsyncWrite};
pub use redcache_driver::*;
use smol::net::TcpStream;
#[cfg(unix)]
use smol::net::unix::UnixStream;

/// The cache, on smol.
pub type Cache = redcache_driver::Cache<Smol>;

/// smol's global executor.
#[derive(Debug, Clone, Copy, Default)]
pub struct Smol;

impl Runtime for Smol {
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
        smol::Timer::at(at).await;
    }

    fn coarse_now(&self) -> Instant {
        coarse_now()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }
}
