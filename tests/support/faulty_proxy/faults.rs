//! The faults of a proxy, drawn at random.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rng::Rng;

/// The longest time that a byte stays in the proxy, without the time to drip the bytes before it.
pub const HOLD_MAX: Duration = Duration::from_millis(2500);

/// A fault that the proxy causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Bytes arrive up to 50 ms late.
    Delay,
    /// Bytes arrive in pieces.
    Split,
    /// Bytes that were written apart arrive together.
    Coalesce,
    /// Bytes arrive one by one.
    Drip,
    /// Bytes of one direction stall for up to two seconds.
    Stall,
    /// The connection ends at once, with bytes in transit.
    Reset,
    /// One direction ends, the other continues.
    HalfClose,
}

/// The number of cases of each fault in 100,000 pieces of data.
const RATES: [(Fault, u64); 7] = [
    (Fault::Delay, 600),
    (Fault::Split, 2_000),
    (Fault::Coalesce, 2_000),
    (Fault::Drip, 300),
    (Fault::Stall, 30),
    (Fault::Reset, 20),
    (Fault::HalfClose, 10),
];

/// The rate and the number of faults.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The multiple of [`RATES`], in percent.
    percent: AtomicU64,
    counts: Mutex<BTreeMap<Fault, u64>>,
}

impl Faults {
    pub(super) fn set_rate(&self, percent: u64) {
        self.percent.store(percent, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> BTreeMap<Fault, u64> {
        lock(&self.counts).clone()
    }

    /// Return the fault of the next piece of data, and count it.
    pub(super) fn draw(&self, rng: &mut Rng) -> Option<Fault> {
        let percent = self.percent.load(Ordering::Relaxed);
        if percent == 0 {
            return None;
        }
        let mut drawn = rng.below(100_000 * 100);
        let rate = RATES.iter().find(|(_, rate)| {
            let is_hit = drawn < rate * percent;
            drawn = drawn.saturating_sub(rate * percent);
            is_hit
        });
        let fault = rate.map(|(fault, _)| *fault)?;
        *lock(&self.counts).entry(fault).or_default() += 1;
        Some(fault)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
