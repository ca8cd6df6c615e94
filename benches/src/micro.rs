//! Costs without noise from the machine: allocations and instructions per operation, bytes per
//! entry, commands per event.
//!
//! Every cost is the difference between many operations and few, so that the cost of setup cancels
//! out. The allocator of the `micro` binary counts allocations. Valgrind counts instructions; the
//! binary runs itself under it with one case and a number of operations.

mod callgrind;
mod cases;
mod fleet;
mod near;
mod options;
mod scripted;

pub use callgrind::instructions;
pub use cases::{Case, Operation};
pub use fleet::{CLIENTS, Deleted, one_deleted_key};
pub use near::bytes_per_entry;
pub use options::{OptionCost, cost_of_options};

use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use crate::Failure;

/// Number of repetitions of a case. Background work adds to some repetitions only, so the smallest
/// cost is the true cost.
const REPEATS: usize = 5;

/// Cost of one operation.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Calls of the allocator for more memory.
    pub allocations: f64,
    /// Nanoseconds, with noise from the machine.
    pub nanos: f64,
}

/// Measure the cost of one operation of a case.
///
/// # Errors
///
/// Fails if the case cannot be set up or goes wrong.
pub fn cost(case: Case) -> Result<Cost, Failure> {
    let mut operation = case.prepare()?;
    let (few, many) = case.sizes();
    operation(few)?;
    let mut allocations = usize::MAX;
    let mut elapsed = Duration::MAX;
    for _ in 0..REPEATS {
        let region = Region::new(&INSTRUMENTED_SYSTEM);
        let started = Instant::now();
        operation(many)?;
        elapsed = elapsed.min(started.elapsed());
        let change = region.change();
        allocations = allocations.min(change.allocations + change.reallocations);
    }
    let many = many as f64;
    Ok(Cost { allocations: allocations as f64 / many, nanos: elapsed.as_nanos() as f64 / many })
}
