//! The result of a run.

use std::time::Duration;

use crate::invariant::Violation;
use crate::tally::Tally;

/// The result of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// The number of events.
    pub steps: u64,
    /// The number of events before the faults ended.
    pub disturbed_steps: u64,
    /// The number of calls.
    pub calls: u64,
    /// The number of them that are a `change`.
    pub changes: u64,
    /// The virtual duration.
    pub lasted: Duration,
    /// The hash of the whole run; equal for equal seeds.
    pub hash: u64,
    /// The counts of injected faults and checked invariants.
    pub tally: Tally,
    /// The violation that ended the run, if there was one.
    pub violation: Option<Violation>,
    /// The readable trace, if it was requested.
    pub trace: Vec<String>,
}
