//! The report of a run.

use std::io::{self, Write};

use redcache_sim::invariant::Violation;
use redcache_sim::world::{Options, shortest};

use crate::arguments::Arguments;
use crate::sum::Sum;

/// The number of broken seeds whose trace is printed.
pub(crate) const SHOWN_MAX: usize = 1;

/// The number of trace lines printed, counted from the end.
const SHOWN_LINES: usize = 60;

pub(crate) fn write_report(
    out: &mut impl Write,
    arguments: &Arguments,
    sum: &Sum,
    seconds: f64,
) -> io::Result<()> {
    writeln!(out, "injections of each fault:")?;
    for (fault, count) in arguments.faults(&sum.tally) {
        writeln!(out, "{count:>12}  {}", fault.name())?;
    }
    writeln!(out, "checks of each invariant:")?;
    for (invariant, count) in arguments.coverage(&sum.tally) {
        writeln!(out, "{count:>12}  {}", invariant.description())?;
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
        "{} runs, {} steps, {} calls ({} changes), hash {:016x} in {seconds:.1} s: {:.0}/s, {} \
         broken",
        arguments.seeds,
        sum.steps,
        sum.calls,
        sum.changes,
        sum.hash,
        arguments.seeds as f64 / seconds,
        sum.broken.len()
    )
}

struct Violated<'a> {
    invariant: &'static str,
    text: &'a str,
}

impl<'a> Violated<'a> {
    fn of(violation: &'a Violation) -> Self {
        Self { invariant: violation.invariant.description(), text: &violation.text }
    }
}

pub(crate) fn write_broken(out: &mut impl Write, seed: u64, options: &Options) -> io::Result<()> {
    let run = shortest(seed, options);
    writeln!(out, "the shortest failing run found for seed {seed}:")?;
    let skipped = run.trace.len().saturating_sub(SHOWN_LINES);
    if skipped > 0 {
        writeln!(out, "({skipped} lines before these)")?;
    }
    for line in &run.trace[skipped..] {
        writeln!(out, "{line}")?;
    }
    let option = match (options.cluster, options.sentinels) {
        _ if options.namespaces => " --namespaces",
        (_, true) => " --sentinels",
        (true, false) => " --cluster",
        (false, false) => "",
    };
    let changes = if options.changes { " --changes" } else { "" };
    writeln!(out, "the whole trace: simulate{option}{changes} --replay {seed}")
}

pub(crate) fn write_json(
    out: &mut impl Write,
    arguments: &Arguments,
    sum: &Sum,
    seconds: f64,
) -> io::Result<()> {
    let faults =
        arguments.faults(&sum.tally).map(|(fault, count)| format!("\"{fault:?}\":{count}"));
    let coverage = arguments.coverage(&sum.tally).map(|(it, count)| format!("\"{it:?}\":{count}"));
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
        "{{\"from\":{},\"runs\":{},\"steps\":{},\"calls\":{},\"changes\":{},\"seconds\":{seconds:.3},\
         \"faults\":{{{}}},\"coverage\":{{{}}},\"broken\":[{}]}}",
        arguments.from,
        arguments.seeds,
        sum.steps,
        sum.calls,
        sum.changes,
        faults.collect::<Vec<_>>().join(","),
        coverage.collect::<Vec<_>>().join(","),
        broken.collect::<Vec<_>>().join(",")
    )
}
