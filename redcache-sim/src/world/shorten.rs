//! Search for a shorter failing run.

use crate::options::Options;
use crate::run::Run;
use crate::world::kind::simulate;

/// Run a seed with fewer and fewer steps before the faults end, and return the shortest failing run
/// found, with its trace.
pub fn shortest(seed: u64, plain: &Options) -> Run {
    let full = simulate(seed, plain);
    let breaks = |steps| {
        let options = Options { disturbed_steps_max: Some(steps), ..plain.clone() };
        simulate(seed, &options).violation.is_some()
    };
    // Failures need not be monotonic in the number of steps, so the result may not be the shortest.
    let (mut low, mut high) = (0, full.disturbed_steps + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if breaks(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let options = Options { trace: true, disturbed_steps_max: Some(high), ..plain.clone() };
    let found = simulate(seed, &options);
    if found.violation.is_some() {
        found
    } else {
        simulate(seed, &Options { disturbed_steps_max: None, ..options })
    }
}
