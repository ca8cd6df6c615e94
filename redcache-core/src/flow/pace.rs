//! The pace of a flow: its waits for the locks of others, and the renewal of its own lock.

use std::time::{Duration, Instant};

use crate::api::error::{Error, ErrorKind};
use crate::protocol::reply::Ttl;
use crate::rng::Rng;

/// The total time that a flow may wait for the locks of others, over all its attempts.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    since: Option<Instant>,
    wakes: u32,
    /// The flow has already waited once for a lock without expiry.
    endless_lock_seen: bool,
}

/// The number of wake-ups after which a flow reads at once. Later reads follow a pause: a server
/// that evicts its tracking table sends invalidations without a change.
const PROMPT_WAKES_MAX: u32 = 16;
const SPACED_WAKE: Duration = Duration::from_millis(20);
/// The first pause between two polls of a server without tracking.
const POLL_FIRST: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(500);

impl Patience {
    /// Continue waits that began at `since`.
    pub(crate) fn begun(since: Option<Instant>) -> Self {
        Self { since, ..Self::default() }
    }

    /// Return the instant at which the waits began.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Return the rest of `limit`, which starts with the first call of this function.
    pub(crate) fn left(&mut self, now: Instant, limit: Duration) -> Duration {
        let since = *self.since.get_or_insert(now);
        (since + limit).saturating_duration_since(now)
    }

    /// Record a lock's TTL. Return `true` if this is the second lock without expiry.
    pub(crate) fn is_endless_again(&mut self, ttl: Ttl) -> bool {
        ttl == Ttl::Endless && std::mem::replace(&mut self.endless_lock_seen, true)
    }

    /// Return the longest wait for a lock with this TTL.
    pub(crate) fn bound(
        &mut self,
        ttl: Ttl,
        lock_ttl: Duration,
        tracked: bool,
        rng: &mut Rng,
    ) -> Duration {
        let lock_life = match ttl {
            Ttl::Left(left) => left,
            Ttl::Endless | Ttl::Absent | Ttl::Unknown => lock_ttl,
        };
        // The wait is a whole millisecond longer, because Redis rounds. It has jitter, because all
        // callers that wait for a lock would otherwise read again at the same instant.
        let jitter = rng.below(lock_life.min(POLL_MAX) / 10);
        let bound = lock_life.saturating_add(Duration::from_millis(1) + jitter);
        if tracked { bound } else { bound.min(self.poll_pause(rng)) }
    }

    /// Return a pause that doubles from the first to the longest, with jitter.
    fn poll_pause(&mut self, rng: &mut Rng) -> Duration {
        let nominal = POLL_FIRST.saturating_mul(1 << self.wakes.min(16)).min(POLL_MAX);
        self.wakes += 1;
        nominal / 2 + rng.below(nominal / 2)
    }

    /// Count a wake-up. Return the pause before the next read once there have been many.
    pub(crate) fn on_woken(&mut self) -> Option<Duration> {
        self.wakes += 1;
        (self.wakes > PROMPT_WAKES_MAX).then_some(SPACED_WAKE)
    }
}

/// The limits of a load: the TTL of its lock, and the load timeout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadTimes {
    pub(crate) lock_ttl: Duration,
    pub(crate) load_timeout: Duration,
}

impl LoadTimes {
    /// Return the next instant at which a load needs attention.
    ///
    /// A lock is renewed after half of its TTL, up to the load timeout. A renewal wakes every
    /// caller that waits for the lock, so a load of normal length has none. By then, a load must
    /// have begun.
    pub(crate) fn due_at(self, since: Instant, now: Instant) -> Instant {
        (since + self.load_timeout).min(self.renewed_at(now))
    }

    /// Return the instant of the next renewal of a lock.
    pub(crate) fn renewed_at(self, now: Instant) -> Instant {
        now + self.lock_ttl / 2
    }

    /// Return the error of a load that has reached the load timeout.
    pub(crate) fn timed_out(self) -> Error {
        let text = format!("the limit is `load_timeout`, {:?}", self.load_timeout);
        Error::new(ErrorKind::LoadTimeout, text)
    }

    pub(crate) fn is_over(self, since: Instant, now: Instant) -> bool {
        now >= since + self.load_timeout
    }
}
