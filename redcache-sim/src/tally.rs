//! Counts of injected faults and checked invariants.

use crate::fault::Fault;
use crate::invariant::Invariant;

/// The number of times that each fault was injected and each invariant was exercised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    faults: [u64; Fault::ALL.len()],
    coverage: [u64; Invariant::ALL.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self { faults: [0; Fault::ALL.len()], coverage: [0; Invariant::ALL.len()] }
    }
}

impl Tally {
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    pub(crate) fn cover(&mut self, invariant: Invariant) {
        self.coverage[invariant as usize] += 1;
    }

    /// Add the counts of another tally.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.faults.iter_mut().zip(&other.faults) {
            *sum += count;
        }
        for (sum, count) in self.coverage.iter_mut().zip(&other.coverage) {
            *sum += count;
        }
    }

    /// Return each fault and how often it was injected.
    pub fn faults(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        Fault::ALL.into_iter().zip(self.faults)
    }

    /// Return each invariant and how often it was exercised.
    pub fn coverage(&self) -> impl Iterator<Item = (Invariant, u64)> + '_ {
        Invariant::ALL.into_iter().zip(self.coverage)
    }
}
