//! Runs simulated worlds by their seeds and reports what held, what did not, and how much was put to the test.

use std::io::{self, Write};
use std::panic::{catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

#[cfg(redcache_mutants)]
mod mutants;
#[cfg(not(redcache_mutants))]
#[path = "rebuild.rs"]
mod mutants;

use redcache_sim::fault::Fault;
use redcache_sim::invariant::{Invariant, Violation};
use redcache_sim::tally::Tally;
use redcache_sim::world::{Options, Run, shortest, simulate};

const USAGE: &str = "\
simulate [--cluster] [--seeds N] [--from SEED] [--threads N] [--json]
simulate [--cluster] --replay SEED [--from-start]
simulate --mutants | --mutant NAME [--seeds N]

  --cluster      worlds with a cluster instead of one server
  --seeds N      how many worlds to run (default 2000)
  --from SEED    the first seed (default 0)
  --threads N    how many to run at once (default: one per processor)
  --json         print the report as JSON
  --replay SEED  print what happens in one world; of one that breaks, the shortest history found
  --from-start   with --replay: print the whole history, however long
  --mutants      build once more with bugs, and switch on one after the other; each must be found (default: within
                 10000 seeds)
  --mutant NAME  the same with one bug

Exit status: 0 when all held, 1 when something was broken or a fault or premise never occurred, 2 for a wrong call.";

/// Every so many seeds, a world is run twice: equal seeds must give equal histories.
const TWICE_EVERY: u64 = 16;

/// Fewer seeds than this may miss a fault or a premise by chance.
const TELLING: u64 = 1000;

/// How many broken seeds are shown with their history.
const SHOWN_MAX: usize = 1;

/// How many lines of that history, counted from its end.
const SHOWN_LINES: usize = 60;

#[derive(Debug)]
struct Arguments {
    seeds: u64,
    from: u64,
    threads: usize,
    json: bool,
    cluster: bool,
    replay: Option<u64>,
    whole: bool,
    hunt: Option<Hunt>,
}

/// Which bugs to switch on.
#[derive(Debug)]
enum Hunt {
    All,
    One(String),
}

#[derive(Debug, Default)]
struct Sum {
    steps: u64,
    calls: u64,
    /// The sum of the hashes of all runs: equal for equal histories.
    hash: u64,
    tally: Tally,
    broken: Vec<Run>,
    /// Seeds that did not repeat themselves.
    unsteady: Vec<u64>,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return show(USAGE, ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("simulate: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let all_held = match (arguments.replay, &arguments.hunt) {
        (_, Some(hunt)) => mutants::hunt(&arguments, hunt),
        (Some(seed), None) => replay(seed, arguments.cluster, arguments.whole),
        (None, None) => run(&arguments),
    };
    match all_held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(text: &str, code: ExitCode) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut arguments = Arguments {
        seeds: 0,
        from: 0,
        threads,
        json: false,
        cluster: false,
        replay: None,
        whole: false,
        hunt: None,
    };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("{word} wants a number"))?;
            text.parse::<u64>().map_err(|_| format!("{word} wants a number, not `{text}`"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--threads" => arguments.threads = usize::try_from(number()?.max(1)).unwrap_or(1),
            "--replay" => arguments.replay = Some(number()?),
            "--mutants" => arguments.hunt = Some(Hunt::All),
            "--mutant" => {
                let name = words.next().ok_or("--mutant wants a name")?;
                arguments.hunt = Some(Hunt::One(name));
            }
            "--cluster" => arguments.cluster = true,
            "--json" => arguments.json = true,
            "--from-start" => arguments.whole = true,
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("`{word}` is not an option")),
        }
    }
    if arguments.seeds == 0 {
        arguments.seeds = if arguments.hunt.is_some() { 10_000 } else { 2_000 };
    }
    Ok(Some(arguments))
}

fn replay(seed: u64, cluster: bool, whole: bool) -> io::Result<bool> {
    let traced = Options { cluster, trace: true, ..Options::default() };
    let run = simulate(seed, &traced);
    let run = if run.violation.is_some() && !whole { shortest(seed, cluster) } else { run };
    let mut out = io::stdout().lock();
    for line in &run.trace {
        writeln!(out, "{line}")?;
    }
    writeln!(
        out,
        "seed {seed}: {} steps, {} calls, {:?} in the world, hash {:016x}",
        run.steps, run.calls, run.lasted, run.hash
    )?;
    Ok(run.violation.is_none())
}

fn run(arguments: &Arguments) -> io::Result<bool> {
    let start = Instant::now();
    let sum = run_all(arguments);
    let seconds = start.elapsed().as_secs_f64();
    let silent: Vec<String> = if arguments.seeds < TELLING {
        Vec::new()
    } else {
        let faults = arguments.faults(&sum.tally).filter(|(_, count)| *count == 0);
        let premises = arguments.premises(&sum.tally).filter(|(_, count)| *count == 0);
        let faults = faults.map(|(fault, _)| fault.name().to_owned());
        faults.chain(premises.map(|(it, _)| format!("{it:?}: {}", it.says()))).collect()
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        write_json(&mut out, arguments, &sum, seconds)?;
    } else {
        write_report(&mut out, arguments, &sum, seconds)?;
    }
    for seed in &sum.unsteady {
        writeln!(io::stderr(), "seed {seed} did not repeat itself")?;
    }
    for name in &silent {
        writeln!(io::stderr(), "never occurred: {name}")?;
    }
    for run in sum.broken.iter().take(SHOWN_MAX) {
        write_broken(&mut io::stderr().lock(), run.seed, arguments.cluster)?;
    }
    Ok(sum.broken.is_empty() && sum.unsteady.is_empty() && silent.is_empty())
}

fn run_all(arguments: &Arguments) -> Sum {
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
            // A world that panics has found a bug too; its message is on the screen already.
            let sum = thread.join().unwrap_or_else(|_| std::process::exit(1));
            all.steps += sum.steps;
            all.calls += sum.calls;
            all.hash = all.hash.wrapping_add(sum.hash);
            all.tally.add(&sum.tally);
            all.broken.extend(sum.broken);
            all.unsteady.extend(sum.unsteady);
        }
    });
    all.broken.sort_by_key(|run| run.seed);
    all
}

fn write_report(
    out: &mut impl Write,
    arguments: &Arguments,
    sum: &Sum,
    seconds: f64,
) -> io::Result<()> {
    writeln!(out, "how often each fault struck:")?;
    for (fault, count) in arguments.faults(&sum.tally) {
        writeln!(out, "{count:>12}  {}", fault.name())?;
    }
    writeln!(out, "how often each invariant was put to the test:")?;
    for (invariant, count) in arguments.premises(&sum.tally) {
        writeln!(out, "{count:>12}  {}", invariant.says())?;
    }
    for run in &sum.broken {
        if let Some(violation) = &run.violation {
            let (seed, steps) = (run.seed, run.steps);
            let Violated { invariant, text } = Violated::of(violation);
            writeln!(out, "BROKEN by seed {seed} at step {steps}: {invariant} ({text})")?;
        }
    }
    writeln!(
        out,
        "{} histories, {} steps, {} calls, hash {:016x} in {seconds:.1} s: {:.0} histories/s, {} broken",
        arguments.seeds,
        sum.steps,
        sum.calls,
        sum.hash,
        arguments.seeds as f64 / seconds,
        sum.broken.len()
    )
}

struct Violated<'a> {
    invariant: &'static str,
    text: &'a str,
}

impl Arguments {
    /// What every world is run with.
    fn options(&self) -> Options {
        Options { cluster: self.cluster, ..Options::default() }
    }

    /// The faults that can strike at all.
    fn faults(&self, tally: &Tally) -> impl Iterator<Item = (Fault, u64)> {
        tally.faults().filter(|(fault, _)| self.cluster || !fault.is_of_cluster())
    }

    /// The invariants that can be put to the test at all.
    fn premises(&self, tally: &Tally) -> impl Iterator<Item = (Invariant, u64)> {
        tally.premises().filter(|(it, _)| {
            if self.cluster { !it.is_of_one_server() } else { !it.is_of_cluster() }
        })
    }
}

impl<'a> Violated<'a> {
    fn of(violation: &'a Violation) -> Self {
        Self { invariant: violation.invariant.says(), text: &violation.text }
    }
}

fn write_broken(out: &mut impl Write, seed: u64, cluster: bool) -> io::Result<()> {
    let run = shortest(seed, cluster);
    writeln!(out, "the shortest history of seed {seed} that was found to break:")?;
    let skipped = run.trace.len().saturating_sub(SHOWN_LINES);
    if skipped > 0 {
        writeln!(out, "({skipped} lines before these)")?;
    }
    for line in &run.trace[skipped..] {
        writeln!(out, "{line}")?;
    }
    let option = if cluster { " --cluster" } else { "" };
    writeln!(out, "all of it: simulate{option} --replay {seed}")
}

fn write_json(
    out: &mut impl Write,
    arguments: &Arguments,
    sum: &Sum,
    seconds: f64,
) -> io::Result<()> {
    let faults =
        arguments.faults(&sum.tally).map(|(fault, count)| format!("\"{fault:?}\":{count}"));
    let premises = arguments.premises(&sum.tally).map(|(it, count)| format!("\"{it:?}\":{count}"));
    let broken = sum.broken.iter().filter_map(|run| {
        let violation = run.violation.as_ref()?;
        let text = violation.text.escape_default();
        Some(format!(
            "{{\"seed\":{},\"step\":{},\"invariant\":\"{:?}\",\"text\":\"{}\"}}",
            run.seed,
            run.steps,
            violation.invariant,
            text.to_string().replace("\\'", "'").replace("\\u{", "u{")
        ))
    });
    writeln!(
        out,
        "{{\"from\":{},\"histories\":{},\"steps\":{},\"calls\":{},\"seconds\":{seconds:.3},\"faults\":{{{}}},\"premises\":{{{}}},\"broken\":[{}]}}",
        arguments.from,
        arguments.seeds,
        sum.steps,
        sum.calls,
        faults.collect::<Vec<_>>().join(","),
        premises.collect::<Vec<_>>().join(","),
        broken.collect::<Vec<_>>().join(",")
    )
}
