//! One run of a simulated world of any kind.

use super::simulate::simulate_servers;
use crate::group;
use crate::namespace;
use crate::options::Options;
use crate::run::Run;

/// Run the world of a seed to its end or to the first violation. Equal seeds give equal runs.
///
/// ```
/// use redcache_sim::world::{Options, simulate};
///
/// let run = simulate(7, &Options::default());
/// assert!(run.violation.is_none());
/// assert_eq!(run.hash, simulate(7, &Options::default()).hash);
/// ```
pub fn simulate(seed: u64, options: &Options) -> Run {
    if options.sentinels {
        group::simulate(seed, options)
    } else if options.namespaces {
        namespace::simulate(seed, options)
    } else {
        simulate_servers(seed, options)
    }
}
