//! `--all`: every row with every peer, interleaved, each in a process of its own.
//!
//! The machine's mood changes by the minute, so peers of a row are measured one right after the other,
//! everything is repeated in rounds, and each round starts with another peer. A process of its own
//! means that no peer inherits a fragmented heap or somebody's background threads, and that one that
//! hangs or crashes costs its cell and not the table.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::cli::{All, Peer, Run};
use crate::line::Line;
use crate::plan::Row;
use crate::runtime::WORKERS;
use crate::server::Server;
use crate::table::{self, Results};
use crate::{Failure, plot};

/// A cell that takes longer is given up.
const CELL_WITHIN: Duration = Duration::from_secs(150);

/// How many rounds there are unless the user says so.
const ROUNDS: usize = 3;

/// No further round is begun that would not end by then, unless the user wants it.
const ALL_WITHIN: Duration = Duration::from_secs(360);

/// How a cell ended.
pub(crate) enum Cell {
    Measured(Line),
    /// The peer cannot do it, and will not be asked again.
    Unsupported,
}

/// Measures the whole table and tells it: lines as they come, then ratios and targets.
///
/// # Errors
///
/// Fails if no process can be started or a chart cannot be written. A peer that fails is reported on
/// standard error and missing from the table.
pub fn all(all: &All, server: &Server, mut tell: impl FnMut(&str)) -> Result<(), Failure> {
    let started = Instant::now();
    let mut results = Results::default();
    let mut unsupported: Vec<(Row, Peer)> = Vec::new();
    for round in 1..=all.rounds.unwrap_or(ROUNDS) {
        for row in Row::ALL {
            let mut peers = row.peers();
            let first = (round - 1) % peers.len();
            peers.rotate_left(first);
            peers.retain(|peer| !unsupported.contains(&(*row, *peer)));
            for peer in peers {
                match measure(&row.run(peer), server) {
                    Ok(Cell::Measured(line)) => {
                        let line = Line { round: Some(round), ..line };
                        tell(&line.to_string());
                        results.add(*row, line);
                    }
                    Ok(Cell::Unsupported) => unsupported.push((*row, peer)),
                    Err(failure) => eprintln!("compare: {row}, {peer}: {failure}"),
                }
            }
        }
        let taken = started.elapsed();
        eprintln!("# round {round} took until second {}", taken.as_secs());
        let next = taken + taken.div_f64(round as f64);
        if all.rounds.is_none() && next > ALL_WITHIN {
            break;
        }
    }
    tell(&table::render(&results));
    if let Some(folder) = &all.plot {
        plot::write(&results, folder)?;
    }
    Ok(())
}

/// Measures once, in a process of its own.
pub(crate) fn measure(run: &Run, server: &Server) -> Result<Cell, Failure> {
    let mut child = Command::new(env::current_exe()?)
        .args(["--quiet", "--redis", server.address()])
        .args(arguments(run))
        .envs(WORKERS)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().ok_or("the child has no standard output")?;
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        // Whoever gave up waiting does not want to know how it ended.
        let _ = send.send(stdout.read_to_string(&mut text).map(|_| text));
    });
    let Ok(text) = receive.recv_timeout(CELL_WITHIN) else {
        child.kill()?;
        child.wait()?;
        return Err(format!("gave up after {} s", CELL_WITHIN.as_secs()).into());
    };
    match child.wait()?.code() {
        Some(0) => Ok(Cell::Measured(text?.parse()?)),
        Some(2) => Ok(Cell::Unsupported),
        _ => Err("failed".into()),
    }
}

fn arguments(run: &Run) -> Vec<String> {
    let Run { workload, peer, load, quiet: _ } = run;
    let options = [
        ("--workload", workload.to_string()),
        ("--peer", peer.to_string()),
        ("--tasks", load.tasks.to_string()),
        ("--ops", load.ops.to_string()),
        ("--keys", load.keys.to_string()),
        ("--batch", load.batch.to_string()),
        ("--value", load.value.to_string()),
        ("--loader-ms", load.loader_ms.to_string()),
    ];
    options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn a_child_is_told_exactly_what_the_plan_says() {
        for row in Row::ALL {
            let run = row.run(Peer::RedisRsSync);
            let quiet = std::iter::once("--quiet".to_owned());
            let parsed = cli::Command::parse(quiet.chain(arguments(&run))).unwrap();
            assert_eq!(parsed, cli::Command::One(None, run));
        }
    }
}
