//! Mutation test: switch on one planted bug at a time and run worlds until a check fails.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use redcache_core::Mutant;
use redcache_sim::world::{Options, simulate};

use crate::arguments::{Arguments, Hunt};

/// The seed and the check that found a bug.
struct Catch {
    seed: u64,
    how: String,
}

/// Switch on each wanted bug and run worlds until one fails. Return whether all were found.
pub(crate) fn hunt(arguments: &Arguments, hunt: &Hunt) -> io::Result<bool> {
    let wanted: Vec<Mutant> = match hunt {
        Hunt::All => Mutant::ALL.to_vec(),
        Hunt::One(name) => {
            let named = Mutant::ALL.iter().find(|mutant| mutant.name() == name);
            let names: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
            let unknown = || io::Error::other(format!("no such mutant; there are {names:?}"));
            vec![*named.ok_or_else(unknown)?]
        }
    };
    // A panic counts as a found bug. Its message is not printed, because it would repeat thousands
    // of times.
    std::panic::set_hook(Box::new(|_| {}));
    let (start, mut missed) = (Instant::now(), 0);
    let mut out = io::stdout().lock();
    for mutant in &wanted {
        mutant.switch_on();
        let mut is_missed = false;
        for options in worlds(*mutant) {
            let catch = find(arguments, &options);
            is_missed |= catch.is_none();
            write_catch(&mut out, arguments, *mutant, catch)?;
        }
        missed += usize::from(is_missed);
        out.flush()?;
        Mutant::switch_off();
    }
    let (found, seconds) = (wanted.len() - missed, start.elapsed().as_secs_f64());
    writeln!(out, "{found} of {} mutants found in {seconds:.1} s", wanted.len())?;
    Ok(missed == 0)
}

/// Return the options of the kinds of worlds that must each find a bug.
fn worlds(mutant: Mutant) -> Vec<Options> {
    let first = Options {
        cluster: mutant.is_of_cluster(),
        sentinels: mutant.is_of_sentinels(),
        namespaces: mutant.is_of_namespaces(),
        large: mutant.is_of_large(),
        ..Options::default()
    };
    let mut worlds = vec![first];
    if mutant.is_of_sentinels_too() {
        worlds.push(Options { sentinels: true, ..Options::default() });
    }
    worlds
}

fn write_catch(
    out: &mut impl Write,
    arguments: &Arguments,
    mutant: Mutant,
    catch: Option<Catch>,
) -> io::Result<()> {
    let name = mutant.name();
    match catch {
        Some(Catch { seed, how }) => {
            let seeds = seed - arguments.from + 1;
            writeln!(out, "{name:28} found by seed {seed:5} ({seeds} seeds): {how}")
        }
        None => writeln!(out, "{name:28} MISSED: {}", mutant.description()),
    }
}

/// Return the first failing seed in the range of the arguments.
fn find(arguments: &Arguments, options: &Options) -> Option<Catch> {
    let next = AtomicU64::new(arguments.from);
    let end = AtomicU64::new(arguments.from.saturating_add(arguments.seeds));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(how) = breaks(seed, options) {
                // Later seeds are of no interest any more.
                end.fetch_min(seed, Ordering::Relaxed);
                return Some(Catch { seed, how });
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads).map(|_| scope.spawn(work)).collect();
        let caught = threads.into_iter().filter_map(|thread| thread.join().ok().flatten());
        caught.min_by_key(|caught| caught.seed)
    })
}

fn breaks(seed: u64, options: &Options) -> Option<String> {
    let run = catch_unwind(AssertUnwindSafe(|| simulate(seed, options)));
    match run {
        Ok(run) => run.violation.map(|violation| violation.invariant.description().to_owned()),
        Err(_) => Some("a panic".to_owned()),
    }
}
