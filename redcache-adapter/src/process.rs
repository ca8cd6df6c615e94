//! The process that opened a cache.

use forkguard::Guard;
use redcache_core::Error;

/// The process that opened a cache. A fork of it shares the sockets and has none of the threads, so
/// it must not use the cache.
///
/// A fork is known by a counter that its C library raises, so a check is no system call.
#[derive(Debug, Clone)]
pub struct OwnProcess {
    guard: Guard,
}

impl OwnProcess {
    /// Return the current process.
    pub fn current() -> Self {
        Self { guard: forkguard::new() }
    }

    /// Return `true` in the process itself, and `false` in a fork.
    pub fn is_current(&self) -> bool {
        // The guard reports a fork once, so each check asks a copy.
        !self.guard.clone().detected_fork()
    }

    /// Check that this is not a fork.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](redcache_core::ErrorKind::Closed) in a fork.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_current() {
            return Ok(());
        }
        Err(Error::closed_because("this process was forked after it was opened: connect again"))
    }
}
