//! Counters of a run, and its violations.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The number of violations of one kind whose text is kept.
const TEXTS_MAX: u64 = 20;

#[derive(Debug)]
pub(crate) struct Tally {
    started_at: Instant,
    counts: Mutex<BTreeMap<(&'static str, String), u64>>,
    /// Violations that have not been printed.
    texts: Mutex<Vec<String>>,
    calls: AtomicU64,
    /// The greatest age of an answer after a write of another process, in microseconds.
    stalest_us: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            started_at: Instant::now(),
            counts: Mutex::default(),
            texts: Mutex::default(),
            calls: AtomicU64::new(0),
            stalest_us: AtomicU64::new(0),
        }
    }
}

impl Tally {
    /// Count something of a group.
    pub(crate) fn count(&self, group: &'static str, name: impl Into<String>) {
        self.add(group, name, 1);
    }

    pub(crate) fn add(&self, group: &'static str, name: impl Into<String>, count: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((group, name.into())).or_default() += count;
    }

    pub(crate) fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_staleness(&self, age: Duration) {
        let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        self.stalest_us.fetch_max(age, Ordering::Relaxed);
    }

    /// Count a violation and keep its text.
    pub(crate) fn violation(&self, kind: &'static str, text: String) {
        self.count("violations", kind);
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&("violations", kind.to_owned())).copied().unwrap_or(0);
        drop(counts);
        if count <= TEXTS_MAX {
            let elapsed = self.started_at.elapsed();
            let text = format!("VIOLATION after {elapsed:.3?}: {kind}: {text}");
            self.texts.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }

    /// Return the violations since the last call.
    pub(crate) fn take_texts(&self) -> Vec<String> {
        std::mem::take(&mut self.texts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn violations(&self) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().filter(|((group, _), _)| *group == "violations").map(|(_, count)| count).sum()
    }

    /// Return a line about the run so far.
    pub(crate) fn line(&self) -> String {
        format!(
            "{:>6.0} s: {} calls, {} violations, stalest {:?}",
            self.started_at.elapsed().as_secs_f64(),
            self.calls.load(Ordering::Relaxed),
            self.violations(),
            Duration::from_micros(self.stalest_us.load(Ordering::Relaxed)),
        )
    }

    /// Return every count.
    pub(crate) fn report(&self) -> String {
        let mut text = self.line();
        let mut last_group = "";
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for ((group, name), count) in counts.iter() {
            if *group != last_group {
                let _ = write!(text, "\n{group}:");
                last_group = group;
            }
            let _ = write!(text, "\n  {count:>10} {name}");
        }
        text
    }
}
