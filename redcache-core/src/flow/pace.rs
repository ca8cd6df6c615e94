//! How long a flow waits for the locks of others, how often it looks, and when it looks after its own.

use std::time::{Duration, Instant};

use crate::protocol::reply::Ttl;
use crate::rng::Rng;

/// How long a flow has been waiting for others, over all its attempts.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    since: Option<Instant>,
    wakes: u32,
    /// A lock without expiry was seen, and waited for once already.
    endless_lock_seen: bool,
}

/// So many wake-ups in one wait are answered at once; later ones are spaced out, because a server that evicts its
/// tracking table sends them without a cause.
const PROMPT_WAKES_MAX: u32 = 16;
const SPACED_WAKE: Duration = Duration::from_millis(20);
/// The first pause between two polls of a server that does not report changes.
const POLL_FIRST: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(500);

impl Patience {
    /// What is left of `limit`, which began to run when this was asked first.
    pub(crate) fn left(&mut self, now: Instant, limit: Duration) -> Duration {
        let since = *self.since.get_or_insert(now);
        (since + limit).saturating_duration_since(now)
    }

    /// Notes how long a lock lives; says whether it is the second time that one lives for ever.
    pub(crate) fn is_endless_again(&mut self, ttl: Ttl) -> bool {
        ttl == Ttl::Endless && std::mem::replace(&mut self.endless_lock_seen, true)
    }

    /// How long to wait for a lock at most.
    pub(crate) fn bound(
        &mut self,
        ttl: Ttl,
        lock_ttl: Duration,
        tracked: bool,
        rng: &mut Rng,
    ) -> Duration {
        let lock_life = match ttl {
            Ttl::Left(left) => left,
            Ttl::Endless | Ttl::Absent => lock_ttl,
        };
        // A whole millisecond more, because Redis rounds, and jitter, because everybody waits for the same instant.
        let jitter = rng.below(lock_life.min(POLL_MAX) / 10);
        let bound = lock_life.saturating_add(Duration::from_millis(1) + jitter);
        if tracked { bound } else { bound.min(self.poll_pause(rng)) }
    }

    /// Doubles from the first pause to the longest, with jitter.
    fn poll_pause(&mut self, rng: &mut Rng) -> Duration {
        let nominal = POLL_FIRST.saturating_mul(1 << self.wakes.min(16)).min(POLL_MAX);
        self.wakes += 1;
        nominal / 2 + rng.below(nominal / 2)
    }

    /// Counts a wake-up; gives the pause to keep before looking again, once there have been many.
    pub(crate) fn on_woken(&mut self) -> Option<Duration> {
        self.wakes += 1;
        (self.wakes > PROMPT_WAKES_MAX).then_some(SPACED_WAKE)
    }
}

/// The two times that a load keeps: how long its lock lives, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadTimes {
    pub(crate) lock_ttl: Duration,
    pub(crate) load_timeout: Duration,
}

impl LoadTimes {
    /// When to look after a load next. One that takes longer than half of its lock's life keeps its lock, up to the
    /// load's own deadline. Renewing makes everybody who waits read again, so loads of normal length do without.
    pub(crate) fn due_at(self, since: Instant, now: Instant, locked: bool) -> Instant {
        let over = since + self.load_timeout;
        if locked { over.min(now + self.lock_ttl / 2) } else { over }
    }

    pub(crate) fn is_over(self, since: Instant, now: Instant) -> bool {
        now >= since + self.load_timeout
    }
}
