//! redcache on async-std: a cache-aside cache for Redis, with a near cache in this process and one
//! load across all processes.
//!
//! async-std is discontinued and recommends smol instead. `redcache-smol` has the same calls; this
//! crate is for services that have not moved yet.
//!
//! # Examples
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let cache = redcache_async_std::connect("redis://localhost:6379").await?;
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
//! - The [README](https://crates.io/crates/redcache-async-std) is the guide: calls, settings,
//!   guarantees, limits and costs.
//! - [`Cache`] has all calls; [`RefreshingCache`] refreshes values in the background.
//! - [`ConfigBuilder`] has all settings; each is also a parameter of the URL.
//! - `examples/quickstart_async_std.rs` is a small service with SQLite.
//! - The crate `redcache` adds typed keys and values; `redcache-sim` has a Redis that runs inside
//!   your tests.

#![forbid(unsafe_code)]

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use async_std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use async_std::os::unix::net::UnixStream;
use futures_io::{AsyncRead, AsyncWrite};
#[doc(inline)]
pub use redcache_driver::*;

/// Create a cache on the global runtime of async-std and wait for its first connection.
///
/// # Errors
///
/// [`ErrorKind::Config`] if a setting is invalid; otherwise the reason why the first attempt to
/// connect failed. [`connect_lazy`] does not need the server.
///
/// # Examples
///
/// ```no_run
/// # async fn example() {
/// match redcache_async_std::connect("redis://localhost:6379/?command_timeout=250ms").await {
///     Ok(cache) => println!("{cache:?}"),
///     Err(error) => eprintln!("no cache: {error}"),
/// }
/// # }
/// ```
pub async fn connect(config: impl IntoConfig) -> Result<Cache, Error> {
    Cache::connect_on(AsyncStd, config).await
}

/// Create a cache on the global runtime of async-std that connects in the background. Calls wait
/// for the connection, for `command_timeout` at most.
///
/// # Errors
///
/// [`ErrorKind::Config`] if a setting is invalid, [`ErrorKind::Unavailable`] if the operating
/// system has no randomness.
///
/// # Examples
///
/// ```no_run
/// # fn example() -> Result<(), redcache_async_std::Error> {
/// let cache = redcache_async_std::connect_lazy("redis://localhost:6379")?;
/// # Ok(())
/// # }
/// ```
pub fn connect_lazy(config: impl IntoConfig) -> Result<Cache, Error> {
    Cache::connect_lazy_on(AsyncStd, config)
}

/// Create a disabled cache: without a server, as [`Config::disabled`] describes. Loaders always
/// run, one at a time for each key in this process.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] if the operating system has no randomness.
///
/// # Examples
///
/// ```
/// # async_std::task::block_on(async {
/// use std::time::Duration;
///
/// let cache = redcache_async_std::disabled()?;
/// let load = || async { Ok::<_, std::io::Error>("Ada") };
/// let answer = cache.get_with("user:42", Duration::from_secs(60), load).await?;
/// assert_eq!(answer.value.as_deref(), Some(&b"Ada"[..]));
/// assert!(cache.get("user:42").await?.value.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub fn disabled() -> Result<Cache, Error> {
    connect_lazy(Config::disabled())
}

/// The global runtime of async-std.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsyncStd;

impl Runtime for AsyncStd {
    type Reader = Box<dyn AsyncRead + Send + Unpin>;
    type Writer = Box<dyn AsyncWrite + Send + Unpin>;

    async fn resolve(&self, address: &Address) -> io::Result<Vec<Address>> {
        match address {
            Address::Tcp { host, port } => {
                let addresses = (host.as_str(), *port).to_socket_addrs().await?;
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
                let addresses = (host.as_str(), *port).to_socket_addrs().await?;
                let sleep = async_std::task::sleep;
                let stream = connect_any(addresses, timeout, TcpStream::connect, sleep).await?;
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

    fn follows_system_clock(&self) -> bool {
        true
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        async_std::task::spawn(task);
    }
}
