//! redcache on smol: a cache-aside cache for Redis, with a near cache in this process and one load
//! across all processes.
//!
//! # Examples
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let cache = redcache_smol::connect("redis://localhost:6379").await?;
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
//! - The [README](https://crates.io/crates/redcache-smol) is the guide: calls, settings,
//!   guarantees, limits and costs.
//! - [`Cache`] has all calls; [`RefreshingCache`] refreshes values in the background.
//! - [`ConfigBuilder`] has all settings; each is also a parameter of the URL.
//! - `examples/quickstart_smol.rs` is a small service with SQLite.
//! - The crate `redcache` adds typed keys and values; `redcache-sim` has a Redis that runs inside
//!   your tests.

#![forbid(unsafe_code)]

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
#[doc(inline)]
pub use redcache_driver::*;
use smol::net::TcpStream;
#[cfg(unix)]
use smol::net::unix::UnixStream;

/// Create a cache on smol's global executor and wait for its first connection.
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
/// match redcache_smol::connect("redis://localhost:6379/?command_timeout=250ms").await {
///     Ok(cache) => println!("{cache:?}"),
///     Err(error) => eprintln!("no cache: {error}"),
/// }
/// # }
/// ```
pub async fn connect(config: impl IntoConfig) -> Result<Cache, Error> {
    Cache::connect_on(Smol, config).await
}

/// Create a cache on smol's global executor that connects in the background. Calls wait for the
/// connection, for `command_timeout` at most.
///
/// # Errors
///
/// [`ErrorKind::Config`] if a setting is invalid, [`ErrorKind::Unavailable`] if the operating
/// system has no randomness.
///
/// # Examples
///
/// ```no_run
/// # fn example() -> Result<(), redcache_smol::Error> {
/// let cache = redcache_smol::connect_lazy("redis://localhost:6379")?;
/// # Ok(())
/// # }
/// ```
pub fn connect_lazy(config: impl IntoConfig) -> Result<Cache, Error> {
    Cache::connect_lazy_on(Smol, config)
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
/// # smol::block_on(async {
/// use std::time::Duration;
///
/// let cache = redcache_smol::disabled()?;
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

/// smol's global executor.
#[derive(Debug, Clone, Copy, Default)]
pub struct Smol;

impl Runtime for Smol {
    type Reader = Box<dyn AsyncRead + Send + Unpin>;
    type Writer = Box<dyn AsyncWrite + Send + Unpin>;

    async fn resolve(&self, address: &Address) -> io::Result<Vec<Address>> {
        match address {
            Address::Tcp { host, port } => {
                let addresses = smol::net::resolve((host.as_str(), *port)).await?;
                Ok(addresses.into_iter().map(address_of).collect())
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
                let addresses = smol::net::resolve((host.as_str(), *port)).await?;
                let sleep = |delay| async move {
                    smol::Timer::after(delay).await;
                };
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
        smol::Timer::at(at).await;
    }

    fn coarse_now(&self) -> Instant {
        coarse_now()
    }

    fn follows_system_clock(&self) -> bool {
        true
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }
}
