//! Costs without noise from the machine: see `micro --help`.
#![expect(clippy::print_stdout, reason = "the lines on standard output are the interface")]

use std::alloc::System;
use std::env;
use std::process::ExitCode;

use redcache_benches::Failure;
use redcache_benches::micro::{self, CLIENTS, Case, Cost, OptionCost};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const USAGE: &str = "\
micro: what single operations cost, and the targets for that.

  micro                       measures every case
  micro --options             measures what near_audit_every and near_staleness_max add to a hit
  micro --case CASE --ops N   only runs a case that many times; this is what valgrind counts

One JSON object per line on standard output. Instructions need valgrind; without it they are null.
ns depends on the machine's mood; ratios in the last lines are of instructions if there are any.";

/// Number of near cache entries whose memory is measured.
const ENTRIES: usize = 100_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        [] => all(),
        ["--options"] => options(),
        ["--case", case, "--ops", ops] => only(case, ops),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("unknown arguments\n{USAGE}").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("micro: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn only(case: &str, ops: &str) -> Result<(), Failure> {
    case.parse::<Case>()?.prepare()?(ops.parse()?)
}

fn options() -> Result<(), Failure> {
    for is_loaded in [false, true] {
        let costs = micro::cost_of_options(is_loaded)?;
        let without = costs.first().map_or(f64::NAN, |cost| cost.nanos);
        for OptionCost { option, nanos } in costs {
            let ratio = nanos / without;
            println!(
                r#"{{"option":"{option}","loaded":{is_loaded},"ns":{nanos:.2},"ratio":{ratio:.4}}}"#
            );
        }
    }
    Ok(())
}

fn all() -> Result<(), Failure> {
    let mut costs = Vec::new();
    for case in Case::ALL {
        let cost = micro::cost(*case)?;
        let Cost { allocations, nanos } = cost;
        let instructions = micro::instructions(*case)?;
        let counted = instructions.map_or_else(|| "null".to_owned(), |count| format!("{count:.1}"));
        println!(
            r#"{{"case":"{case}","allocations":{allocations:.3},"instructions":{counted},"ns":{nanos:.1}}}"#
        );
        // Instructions are compared where they are counted, because time depends on other load.
        costs.push((*case, allocations, instructions.unwrap_or(nanos)));
    }
    let entry = micro::bytes_per_entry(ENTRIES)?;
    println!(r#"{{"case":"near_entry","entries":{ENTRIES},"overhead_bytes":{entry:.1}}}"#);
    let deleted = micro::one_deleted_key()?;
    println!(
        r#"{{"case":"one_deleted_key","clients":{CLIENTS},"reads":{},"locks":{},"scripts":{}}}"#,
        deleted.reads, deleted.locks, deleted.scripts
    );

    let find = |wanted: Case| costs.iter().find(|(case, _, _)| *case == wanted);
    let allocations = |case| find(case).map_or(f64::NAN, |(_, allocations, _)| *allocations);
    let work = |case| find(case).map_or(f64::NAN, |(_, _, work)| *work);
    let ratio = |pieces, whole| work(pieces) / work(whole);
    println!();
    judge("allocations per local hit", allocations(Case::LocalHit), 0.0);
    judge("allocations per local hit, blocking", allocations(Case::LocalHitBlocking), 0.0);
    judge("allocations per object hit", allocations(Case::ObjectHit), 0.0);
    judge("object of 86 bytes / bytes, near hit", ratio(Case::ObjectHit, Case::LocalHit), 1.5);
    judge("object of 8.8 KB / bytes, near hit", ratio(Case::LargeObjectHit, Case::LocalHit), 1.5);
    judge(
        "10 MB array, looked at per 16 KiB / once",
        ratio(Case::LargeArrayInPieces, Case::LargeArray),
        1.5,
    );
    judge(
        "10 MB batch in 16 KiB reads / in one",
        ratio(Case::LargeBatchInPieces, Case::LargeBatch),
        1.5,
    );
    judge("near cache, bytes per entry beyond key and value", entry, 146.0);
    judge("20 clients, one deleted key: reads", deleted.reads as f64, 45.0);
    judge("20 clients, one deleted key: lock attempts", deleted.locks as f64, 20.0);
    judge("20 clients, one deleted key: publications", deleted.scripts as f64, 1.0);
    Ok(())
}

fn judge(what: &str, value: f64, limit: f64) {
    let verdict = if value <= limit { "pass" } else { "missed" };
    println!("  {what:<50} {value:>8.2}  <= {limit:<7.2} {verdict}");
}
