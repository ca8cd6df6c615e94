//! The policy that decides which reads trigger a refresh of their key.
//!
//! A read is due in the last part of the value's TTL (`refresh_at_fraction`), or earlier at random
//! (`refresh_beta`). The probability grows with the run time of the load and towards the expiry.
//! The second rule is from Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache
//! Stampede Prevention", VLDB 2015.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use crate::api::options::{LoaderId, RefreshOptions};
use crate::near::NearHit;
use crate::rng::{GAMMA, mix};

/// The number of due keys that are remembered, so that not every hit on them locks the engine.
const MARKS: usize = 256;
/// A due key is reported once in this time.
const DEDUP_WINDOW: Duration = Duration::from_millis(20);

/// A loader's rule that decides whether the key of a near hit is due for a refresh. It takes no
/// lock.
#[derive(Debug)]
pub struct RefreshPolicy {
    loader: LoaderId,
    options: RefreshOptions,
    since: Instant,
    rng_state: AtomicU64,
    hasher: SeedableRandomState,
    marks: Box<[AtomicU64]>,
}

impl RefreshPolicy {
    pub(crate) fn new(now: Instant, loader: LoaderId, options: RefreshOptions, seed: u64) -> Self {
        Self {
            loader,
            options,
            since: now,
            rng_state: AtomicU64::new(seed),
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            marks: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Return the loader's id.
    pub fn loader(&self) -> LoaderId {
        self.loader
    }

    /// Return the options that the loader was registered with.
    pub fn options(&self) -> RefreshOptions {
        self.options
    }

    /// Return whether the engine should refresh the key; for one key, at most every few
    /// milliseconds.
    pub fn is_due(&self, key: &[u8], hit: &NearHit, now: Instant) -> bool {
        // A process knows the original TTL of its own publications, which the loader may have
        // chosen.
        let life = if hit.is_published { hit.ttl + hit.age } else { self.options.ttl };
        let due = is_due(&self.options, hit.ttl, life, hit.compute_time.span(), || self.sample());
        due && self.mark(key, now)
    }

    /// Return a number in `(0, 1]`.
    fn sample(&self) -> f64 {
        let state = self.rng_state.fetch_add(GAMMA, Ordering::Relaxed);
        (1 + (mix(state) >> 11)) as f64 / (1_u64 << 53) as f64
    }

    /// Mark the key for this time window. Return `false` if it was marked already.
    fn mark(&self, key: &[u8], now: Instant) -> bool {
        let window =
            now.saturating_duration_since(self.since).as_millis() / DEDUP_WINDOW.as_millis();
        let hash = self.hasher.hash_one(key);
        // The lower bits name the window, the upper bits the key.
        let mark = (hash & !0xffff) | (window as u64 & 0xffff);
        self.marks[hash as usize % MARKS].swap(mark, Ordering::Relaxed) != mark
    }
}

/// Return whether a value with this much `left` of its `life` is due. `sample` returns a number in
/// `(0, 1]`.
pub(crate) fn is_due(
    options: &RefreshOptions,
    left: Duration,
    life: Duration,
    compute_time: Duration,
    sample: impl FnOnce() -> f64,
) -> bool {
    let (left, life) = (left.as_secs_f64(), life.as_secs_f64());
    if options.after > 0.0 && life - left >= life * options.after {
        return true;
    }
    let lead = compute_time.as_secs_f64() * options.beta;
    // A sample multiplies `lead` by 37 at most, so most reads need none.
    options.beta > 0.0 && left <= lead * 37.0 && left <= lead * -sample().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::{ComputeTime, Content};

    const SECOND: Duration = Duration::from_secs(1);

    fn options(after: f64, beta: f64) -> RefreshOptions {
        RefreshOptions::new(100 * SECOND).refresh_at_fraction(after).refresh_beta(beta)
    }

    #[test]
    fn the_last_part_of_a_ttl_is_due() {
        let due = |after, left| {
            let never = || panic!("no chance without beta");
            is_due(&options(after, 0.0), left * SECOND, 100 * SECOND, SECOND, never)
        };
        assert!(due(0.8, 20) && !due(0.8, 21));
        assert!(!due(0.0, 1), "zero is off");
    }

    #[test]
    fn a_long_load_and_a_close_expiry_make_a_read_likelier_to_be_due() {
        let policy =
            RefreshPolicy::new(now(), LoaderId { index: 0, generation: 0 }, options(0.0, 1.0), 7);
        let share = |left: u32, took: u32| {
            let due = |_: &u32| {
                let sample = || policy.sample();
                is_due(&policy.options, left * SECOND, 100 * SECOND, took * SECOND, sample)
            };
            f64::from((0..20_000).filter(due).count() as u32) / 20_000.0
        };
        // The probability is e^(-left / took).
        for (left, took) in [(1, 1), (3, 1), (1, 2), (0, 1)] {
            let expected = (-f64::from(left) / f64::from(took)).exp();
            let share = share(left, took);
            assert!((share - expected).abs() < 0.02, "{share} instead of {expected}");
        }
        assert!(share(50, 1) == 0.0 && share(1, 0) == 0.0);
    }

    #[test]
    fn a_key_is_due_once_in_a_time_window() {
        let start = now();
        let loader = LoaderId { index: 0, generation: 0 };
        let policy = RefreshPolicy::new(start, loader, options(0.5, 0.0), 7);
        let hit = NearHit {
            content: Content::Other(None),
            ttl: SECOND,
            age: SECOND,
            fresh_as_of: SECOND,
            compute_time: ComputeTime::of(Duration::ZERO),
            is_published: false,
        };
        assert!(policy.is_due(b"a", &hit, start));
        assert!(!policy.is_due(b"a", &hit, start));
        assert!(policy.is_due(b"b", &hit, start));
        assert!(policy.is_due(b"a", &hit, start + DEDUP_WINDOW));
    }

    #[test]
    fn a_value_with_a_shorter_ttl_of_its_own_is_due_in_the_last_part_of_that_ttl() {
        let policy =
            RefreshPolicy::new(now(), LoaderId { index: 0, generation: 0 }, options(0.8, 0.0), 7);
        let hit = |is_published| NearHit {
            content: Content::Other(None),
            ttl: 5 * SECOND,
            age: 5 * SECOND,
            fresh_as_of: SECOND,
            compute_time: ComputeTime::of(Duration::ZERO),
            is_published,
        };
        assert!(policy.is_due(b"k", &hit(false), now()));
        assert!(!policy.is_due(b"l", &hit(true), now()));
    }

    fn now() -> Instant {
        // The tests need a first instant; the code under test never reads a clock.
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        Instant::now()
    }
}
