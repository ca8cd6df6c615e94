//! The process that opened a cache.

use std::process;

use redcache_core::Error;

/// The process that opened a cache. A fork of it shares the sockets and has none of the threads, so
/// it must not use the cache.
#[derive(Debug, Clone, Copy)]
pub struct OwnProcess {
    id: u32,
}

impl OwnProcess {
    /// Return the current process.
    pub fn current() -> Self {
        Self { id: process::id() }
    }

    /// Return `true` in the process itself, and `false` in a fork.
    pub fn is_current(self) -> bool {
        process::id() == self.id
    }

    /// Check that this is not a fork.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](redcache_core::ErrorKind::Closed) in a fork.
    pub fn check(self) -> Result<(), Error> {
        if self.is_current() {
            return Ok(());
        }
        Err(Error::closed_because("this process was forked after it was opened: connect again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_has_an_error_of_its_own() {
        let own = OwnProcess::current();
        assert!(own.check().is_ok());
        let parents = OwnProcess { id: own.id + 1 };
        let error = parents.check().unwrap_err().to_string();
        assert!(error.contains("the cache is closed: this process was forked"), "{error}");
    }
}
