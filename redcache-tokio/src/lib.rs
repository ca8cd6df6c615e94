//! redcache on tokio: a cache-aside cache for Redis, with a near cache in this process and one load
//! across all processes.
//!
//! # Examples
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let cache = redcache_tokio::connect("redis://localhost:6379").await?;
//! let answer = cache
//!     .get_with("user:42", Duration::from_secs(60), || async {
//!         // Query the database here. `None` is stored as "not found".
//!         Ok::<_, std::io::Error>(Some("Ada"))
//!     })
//!     .await?;
//! println!("{:?} from {}", answer.value, answer.source.as_str());
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go from here
//!
//! - The [README](https://crates.io/crates/redcache-tokio) is the guide: calls, settings,
//!   guarantees, limits and costs.
//! - [`Cache`] has all calls; [`RefreshingCache`] refreshes values in the background.
//! - [`ConfigBuilder`] has all settings; each is also a parameter of the URL.
//! - `examples/quickstart.rs` is a small service with SQLite.
//! - The crate `redcache` adds typed keys and values; `redcache-sim` has a Redis that runs inside
//!   your tests.

#![forbid(unsafe_code)]

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
#[doc(inline)]
pub use redcache_driver::*;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use clock::Clock;
use eager_read::EagerRead;

mod clock;
mod eager_read;

/// Create a cache on the current tokio runtime and wait for its first connection.
///
/// # Errors
///
/// [`ErrorKind::Config`] if a setting is invalid; otherwise the reason why the first attempt to
/// connect failed. [`connect_lazy`] does not need the server.
///
/// # Panics
///
/// Panics outside of a tokio runtime.
///
/// # Examples
///
/// ```no_run
/// # async fn example() {
/// match redcache_tokio::connect("redis://localhost:6379/?command_timeout=250ms").await {
///     Ok(cache) => println!("{cache:?}"),
///     Err(error) => eprintln!("no cache: {error}"),
/// }
/// # }
/// ```
pub async fn connect(config: impl IntoConfig) -> Result<Cache, Error> {
    Cache::connect_on(Tokio::default(), config).await
}

/// Create a cache on the current tokio runtime that connects in the background. Calls wait for the
/// connection, for `command_timeout` at most.
///
/// # Errors
///
/// [`ErrorKind::Config`] if a setting is invalid, [`ErrorKind::Unavailable`] if the operating
/// system has no randomness.
///
/// # Panics
///
/// Panics outside of a tokio runtime.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), redcache_tokio::Error> {
/// let cache = redcache_tokio::connect_lazy("redis://localhost:6379")?;
/// # Ok(())
/// # }
/// ```
pub fn connect_lazy(config: impl IntoConfig) -> Result<Cache, Error> {
    Cache::connect_lazy_on(Tokio::default(), config)
}

/// Create a disabled cache on the current tokio runtime: without a server, as [`Config::disabled`]
/// describes. Loaders always run, one at a time for each key in this process.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] if the operating system has no randomness.
///
/// # Panics
///
/// Panics outside of a tokio runtime.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let cache = redcache_tokio::disabled()?;
/// let load = || async { Ok::<_, std::io::Error>("Ada") };
/// let answer = cache.get_with("user:42", Duration::from_secs(60), load).await?;
/// assert_eq!(answer.value.as_deref(), Some(&b"Ada"[..]));
/// assert!(cache.get("user:42").await?.value.is_none());
/// # Ok(())
/// # }
/// ```
pub fn disabled() -> Result<Cache, Error> {
    connect_lazy(Config::disabled())
}

/// A tokio runtime.
///
/// Time is that of the runtime: under tokio's paused clock, timeouts and the near cache follow the
/// paused time.
#[derive(Debug, Clone)]
pub struct Tokio {
    handle: Handle,
    clock: Clock,
}

impl Default for Tokio {
    /// Return the current runtime.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    fn default() -> Self {
        Self::from(Handle::current())
    }
}

impl From<Handle> for Tokio {
    fn from(handle: Handle) -> Self {
        Self { handle, clock: Clock::default() }
    }
}

impl Runtime for Tokio {
    type Reader = Box<dyn AsyncRead + Send + Unpin>;
    type Writer = Box<dyn AsyncWrite + Send + Unpin>;

    async fn resolve(&self, address: &Address) -> io::Result<Vec<Address>> {
        match address {
            Address::Tcp { host, port } => {
                let addresses = tokio::net::lookup_host((host.as_str(), *port)).await?;
                Ok(addresses.map(address_of).collect())
            }
            Address::Unix(_) => Ok(vec![address.clone()]),
        }
    }

    async fn connect(
        &self,
        address: &Address,
        timeout: Duration,
    ) -> io::Result<(Self::Reader, Self::Writer)> {
        match address {
            Address::Tcp { host, port } => {
                let addresses = tokio::net::lookup_host((host.as_str(), *port)).await?;
                let sleep = tokio::time::sleep;
                let stream = connect_any(addresses, timeout, TcpStream::connect, sleep).await?;
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                let reader = EagerRead::<_, TcpStream>::new(reader).compat();
                Ok((Box::new(reader), Box::new(writer.compat_write())))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                let reader = EagerRead::<_, UnixStream>::new(reader).compat();
                Ok((Box::new(reader), Box::new(writer.compat_write())))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    async fn sleep_until(&self, at: Instant) {
        tokio::time::sleep_until(at.into()).await;
    }

    async fn yield_now(&self) {
        tokio::task::yield_now().await;
    }

    fn now(&self) -> Instant {
        self.clock.now(&self.handle)
    }

    #[inline]
    fn coarse_now(&self) -> Instant {
        self.clock.coarse_now(&self.handle)
    }

    #[inline]
    fn follows_system_clock(&self) -> bool {
        self.clock.follows_system_clock()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}
