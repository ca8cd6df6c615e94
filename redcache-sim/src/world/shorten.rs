//! The search for a shorter history with the same ending.

use crate::options::Options;
use crate::world::simulate::{Run, simulate};

/// Runs the world of `seed` again and again with a shorter disturbed part, and gives the shortest found that still
/// breaks something, with its trace.
pub fn shortest(seed: u64, cluster: bool) -> Run {
    let plain = Options { cluster, ..Options::default() };
    let full = simulate(seed, &plain);
    let breaks = |steps| {
        let options = Options { disturbed_steps_max: Some(steps), ..plain.clone() };
        simulate(seed, &options).violation.is_some()
    };
    // The shortest that breaks need not be found, for longer ones may hold; what is found does break.
    let (mut low, mut high) = (0, full.disturbed_steps + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if breaks(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let options = Options { trace: true, disturbed_steps_max: Some(high), ..plain };
    let found = simulate(seed, &options);
    if found.violation.is_some() {
        found
    } else {
        simulate(seed, &Options { disturbed_steps_max: None, ..options })
    }
}
