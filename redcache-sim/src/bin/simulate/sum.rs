//! Runs of many seeds and their totals.

use std::panic::{catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redcache_sim::tally::Tally;
use redcache_sim::world::{Run, simulate};

use crate::arguments::Arguments;

/// One seed in this many runs twice: equal seeds must give equal hashes.
const TWICE_EVERY: u64 = 16;

#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) steps: u64,
    pub(crate) calls: u64,
    /// The number of them that are a `change`.
    pub(crate) changes: u64,
    /// The sum of the hashes of all runs; equal for equal runs.
    pub(crate) hash: u64,
    pub(crate) tally: Tally,
    pub(crate) broken: Vec<Run>,
    /// Seeds whose second run differed from the first.
    pub(crate) unsteady: Vec<u64>,
}

pub(crate) fn run_all(arguments: &Arguments) -> Sum {
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from.saturating_add(arguments.seeds);
    let enough = AtomicBool::new(false);
    let work = || {
        let mut sum = Sum::default();
        while !enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            let run =
                catch_unwind(|| simulate(seed, &arguments.options())).unwrap_or_else(|panic| {
                    eprintln!("seed {seed} panicked");
                    resume_unwind(panic)
                });
            if seed.is_multiple_of(TWICE_EVERY)
                && simulate(seed, &arguments.options()).hash != run.hash
            {
                sum.unsteady.push(seed);
            }
            sum.steps += run.steps;
            sum.calls += run.calls;
            sum.changes += run.changes;
            sum.hash = sum.hash.wrapping_add(run.hash);
            sum.tally.add(&run.tally);
            if run.violation.is_some() {
                sum.broken.push(run);
                enough.store(sum.broken.len() > 20, Ordering::Relaxed);
            }
        }
        sum
    };
    let mut all = Sum::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            // A panicking world is a found bug; its message has been printed.
            let sum = thread.join().unwrap_or_else(|_| std::process::exit(1));
            all.steps += sum.steps;
            all.calls += sum.calls;
            all.changes += sum.changes;
            all.hash = all.hash.wrapping_add(sum.hash);
            all.tally.add(&sum.tally);
            all.broken.extend(sum.broken);
            all.unsteady.extend(sum.unsteady);
        }
    });
    all.broken.sort_by_key(|run| run.seed);
    all
}
