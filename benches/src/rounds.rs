//! `--all`: every row with every peer, interleaved, each in its own process.
//!
//! The speed of the machine changes by the minute. Therefore peers of a row are measured directly
//! one after the other, all rows are repeated in rounds, and each round starts with another peer.
//! In its own process, a peer inherits no fragmented heap and no background threads of another
//! peer. A peer that hangs or crashes loses its cell, not the table.

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
use crate::tls::TlsPort;
use crate::{Failure, plot};

/// Time limit of a cell.
const CELL_WITHIN: Duration = Duration::from_secs(150);

/// Default number of rounds.
const ROUNDS: usize = 3;

/// Time limit of all rounds, unless the user sets their number.
const ALL_WITHIN: Duration = Duration::from_secs(360);

/// Outcome of a cell.
pub(crate) enum Cell {
    Measured(Line),
    /// The peer does not support the workload and is not measured again.
    Unsupported,
}

/// Measure the whole table and print each line, then ratios and targets.
///
/// # Errors
///
/// Fails if no process can be started or a chart cannot be written. A peer that fails is reported
/// on standard error and missing from the table.
pub fn all(
    all: &All,
    (single, cluster): (&Server, &Server),
    mut tell: impl FnMut(&str),
) -> Result<(), Failure> {
    let started = Instant::now();
    let mut results = Results::default();
    let mut unsupported: Vec<(Row, Peer)> = Vec::new();
    for round in 1..=all.rounds.unwrap_or(ROUNDS) {
        for row in Row::ALL {
            let server = if row.cluster() { cluster } else { single };
            if row.tls() && server.tls().is_none() {
                continue;
            }
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

/// Measure one run in its own process.
pub(crate) fn measure(run: &Run, server: &Server) -> Result<Cell, Failure> {
    let mut child = Command::new(env::current_exe()?)
        .args(["--quiet", "--redis", server.address()])
        .args(server.tls().map(tls_arguments).into_iter().flatten())
        .args(arguments(run))
        .envs(WORKERS)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().ok_or("the child has no standard output")?;
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        // The receiver has been dropped if the wait timed out; the output is then unused.
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
    let Run { workload, peer, load, tls, cluster, quiet: _ } = run;
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
    let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    let beside = (load.beside > 0).then(|| ["--beside".to_owned(), load.beside.to_string()]);
    let flags = [(tls, "--tls"), (cluster, "--cluster")];
    let flags = flags.into_iter().filter(|(given, _)| **given).map(|(_, flag)| flag.to_owned());
    options.chain(beside.into_iter().flatten()).chain(flags).collect()
}

fn tls_arguments(tls: &TlsPort) -> [String; 4] {
    let TlsPort { port, ca } = tls;
    ["--tls-port".to_owned(), port.to_string(), "--tls-ca".to_owned(), ca.display().to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, Redis};

    #[test]
    fn a_child_is_told_exactly_what_the_plan_says() {
        for row in Row::ALL {
            let run = row.run(Peer::RedisRsSync);
            let quiet = std::iter::once("--quiet".to_owned());
            let parsed = cli::Command::parse(quiet.chain(arguments(&run))).unwrap();
            let redis = Redis { cluster: run.cluster, ..Redis::default() };
            assert_eq!(parsed, cli::Command::One(redis, run));
        }
    }
}
