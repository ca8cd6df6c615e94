//! The `simulate` program: run simulated worlds by seed and report violations and coverage.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

mod arguments;
#[cfg(redcache_mutants)]
mod mutants;
#[cfg(not(redcache_mutants))]
#[path = "rebuild.rs"]
mod mutants;
mod report;
mod sum;

use redcache_sim::world::{Options, shortest, simulate};

use self::arguments::{Arguments, USAGE, parse};
use self::report::{SHOWN_MAX, write_broken, write_json, write_report};
use self::sum::run_all;

/// The number of seeds after which each fault and invariant must have occurred.
const TELLING: u64 = 1000;

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
        (Some(seed), None) => replay(seed, &arguments.options(), arguments.whole),
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

fn replay(seed: u64, options: &Options, whole: bool) -> io::Result<bool> {
    let traced = Options { trace: true, ..options.clone() };
    let run = simulate(seed, &traced);
    let run = if run.violation.is_some() && !whole { shortest(seed, options) } else { run };
    let mut out = io::stdout().lock();
    for line in &run.trace {
        writeln!(out, "{line}")?;
    }
    writeln!(
        out,
        "seed {seed}: {} steps, {} calls, {:?} virtual time, hash {:016x}",
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
        let coverage = arguments.coverage(&sum.tally).filter(|(_, count)| *count == 0);
        let faults = faults.map(|(fault, _)| fault.name().to_owned());
        faults.chain(coverage.map(|(it, _)| format!("{it:?}: {}", it.description()))).collect()
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        write_json(&mut out, arguments, &sum, seconds)?;
    } else {
        write_report(&mut out, arguments, &sum, seconds)?;
    }
    for seed in &sum.unsteady {
        writeln!(io::stderr(), "seed {seed} gave two different runs")?;
    }
    for name in &silent {
        writeln!(io::stderr(), "never occurred: {name}")?;
    }
    for run in sum.broken.iter().take(SHOWN_MAX) {
        write_broken(&mut io::stderr().lock(), run.seed, &arguments.options())?;
    }
    Ok(sum.broken.is_empty() && sum.unsteady.is_empty() && silent.is_empty())
}
