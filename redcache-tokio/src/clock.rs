//! The clock of a tokio runtime, which a test may pause and advance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redcache_driver::coarse_now;
use tokio::runtime::Handle;

/// The smallest difference between tokio's clock and the system's that no thread switch explains.
const DISTANCE_MIN: Duration = Duration::from_millis(50);

/// A clock that follows tokio's. As long as tokio's follows the system's, the coarse reading comes
/// from the system's coarse clock, which is several times cheaper to read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    /// Tokio's clock has differed from the system's.
    is_virtual: Arc<AtomicBool>,
}

impl Clock {
    /// Return tokio's time.
    pub(crate) fn now(&self, handle: &Handle) -> Instant {
        if self.is_virtual.load(Ordering::Relaxed) {
            return virtual_now(handle);
        }
        let before = coarse_now();
        let now = tokio::time::Instant::now().into_std();
        let is_late = |coarse: Instant| now > coarse + DISTANCE_MIN;
        // The comparisons hold however long this thread was suspended between two readings.
        if now + DISTANCE_MIN < before || is_late(before) && is_late(coarse_now()) {
            self.is_virtual.store(true, Ordering::Relaxed);
        }
        now
    }

    /// Return whether [`coarse_now`](Self::coarse_now) is the system's coarse clock.
    #[inline]
    pub(crate) fn follows_system_clock(&self) -> bool {
        !cfg!(debug_assertions) && !self.is_virtual.load(Ordering::Relaxed)
    }

    /// Return tokio's time, or a time shortly after it.
    ///
    /// An optimized build learns that tokio's clock is virtual from [`now`](Self::now), which runs
    /// at every timeout. Builds for tests read tokio's clock at once.
    #[inline]
    pub(crate) fn coarse_now(&self, handle: &Handle) -> Instant {
        if self.is_virtual.load(Ordering::Relaxed) {
            virtual_now(handle)
        } else if cfg!(debug_assertions) {
            self.now(handle)
        } else {
            coarse_now()
        }
    }
}

/// Return the time of the runtime, also on a thread outside of it.
#[cold]
fn virtual_now(handle: &Handle) -> Instant {
    let _entered = handle.enter();
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn both_readings_follow_a_clock_that_is_advanced() {
        let (clock, handle) = (Clock::default(), Handle::current());
        let start = clock.now(&handle);
        tokio::time::advance(MINUTE).await;
        assert_eq!(clock.now(&handle), start + MINUTE);
        assert_eq!(clock.coarse_now(&handle), start + MINUTE);
        let elsewhere = std::thread::spawn(move || clock.coarse_now(&handle));
        assert_eq!(elsewhere.join().unwrap(), start + MINUTE);
    }

    #[tokio::test]
    async fn without_a_paused_clock_the_coarse_reading_is_the_systems() {
        let (clock, handle) = (Clock::default(), Handle::current());
        for _ in 0..1_000 {
            let before = Instant::now();
            let now = clock.now(&handle);
            assert!(before <= now && now <= Instant::now());
        }
        assert!(!clock.is_virtual.load(Ordering::Relaxed));
        assert!(clock.coarse_now(&handle) >= Instant::now() - Duration::from_millis(1));
    }
}
