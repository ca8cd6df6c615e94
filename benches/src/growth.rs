//! `--growth`: the cost of a call as one parameter grows.
//!
//! A proportional cost has the same figure in every line of its axis. The unit is nanoseconds per
//! key or per KiB where the work is in keys or bytes, and per call elsewhere.

use crate::Failure;
use crate::cli::{Load, Peer, Run, Workload};
use crate::line::Line;
use crate::rounds::{self, Cell};
use crate::server::Server;

/// Axis of growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    /// Concurrent callers of keys in Redis.
    Tasks,
    /// Entries in the near cache.
    Entries,
    /// Keys per call, all of them in Redis.
    RemoteBatch,
    /// Keys per call, all of them missing.
    ColdBatch,
    /// Bytes per value.
    Value,
}

impl Axis {
    const ALL: [Self; 5] =
        [Self::Tasks, Self::Entries, Self::RemoteBatch, Self::ColdBatch, Self::Value];

    fn name(self) -> &'static str {
        match self {
            Self::Tasks => "remote_hit, tasks",
            Self::Entries => "local_hit, entries",
            Self::RemoteBatch => "remote_multi, keys per call",
            Self::ColdBatch => "cold_multi, keys per call",
            Self::Value => "remote_hit, bytes per value",
        }
    }

    fn steps(self) -> &'static [usize] {
        match self {
            Self::Tasks => &[1, 64, 512, 4096],
            Self::Entries => &[10_000, 100_000, 1_000_000],
            Self::RemoteBatch | Self::ColdBatch => &[10, 100, 1_000, 10_000],
            Self::Value => &[64, 4 << 10, 64 << 10, 1 << 20],
        }
    }

    fn load(self, step: usize) -> (Workload, Load) {
        const KEYS: usize = 100_000;
        let of = |workload, tasks| (workload, Load::of(workload, tasks));
        match self {
            Self::Tasks => of(Workload::RemoteHit, Some(step)),
            Self::Entries => {
                let (workload, load) = of(Workload::LocalHit, None);
                (workload, Load { keys: step, ..load })
            }
            Self::RemoteBatch => {
                let (workload, load) = of(Workload::RemoteMulti, None);
                (workload, Load { batch: step, ops: KEYS / step, ..load })
            }
            Self::ColdBatch => {
                let (workload, load) = of(Workload::ColdMulti, None);
                (workload, Load { batch: step, ops: KEYS / step, ..load })
            }
            Self::Value => {
                let (workload, load) = of(Workload::RemoteHit, None);
                (workload, Load { value: step, ops: (64 << 20) / step.max(16 << 10), ..load })
            }
        }
    }

    /// Return the unit of cost, and the number of units per call.
    fn unit(self, step: usize) -> (&'static str, usize) {
        match self {
            Self::Tasks | Self::Entries => ("call", 1),
            Self::RemoteBatch | Self::ColdBatch => ("key", step),
            Self::Value => ("KiB", step.div_ceil(1024)),
        }
    }
}

/// Measure every step of every axis with redcache on tokio, print each line, then the table.
///
/// # Errors
///
/// Fails if a run fails.
pub fn growth(server: &Server, mut tell: impl FnMut(&str)) -> Result<(), Failure> {
    let mut table = vec![format!(
        "{:<30} {:>9} {:>12} {:>12}  {:<8} {:>14} {:>12}",
        "what grows", "to", "p50 µs", "ns", "per", "server ns", "peak MiB"
    )];
    for axis in Axis::ALL {
        for &step in axis.steps() {
            let (workload, load) = axis.load(step);
            let run = Run {
                workload,
                peer: Peer::RedcacheTokio,
                load,
                tls: false,
                cluster: false,
                quiet: true,
            };
            let Cell::Measured(line) = rounds::measure(&run, server)? else {
                return Err(format!("{workload} is not supported").into());
            };
            tell(&line.to_string());
            table.push(row(axis, step, &line));
        }
    }
    tell(&format!("\n{}", table.join("\n")));
    Ok(())
}

fn row(axis: Axis, step: usize, line: &Line) -> String {
    let (unit, share) = axis.unit(step);
    let nanos = line.ns_per_op / share as f64;
    let server = line.server_us * 1000.0 / (line.ops * share) as f64;
    format!(
        "{:<30} {step:>9} {:>12.1} {nanos:>12.1}  {unit:<8} {server:>14.1} {:>12.1}",
        axis.name(),
        line.p50_us,
        line.peak_kib as f64 / 1024.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_makes_calls_and_each_axis_changes_what_it_names() {
        for axis in Axis::ALL {
            for &step in axis.steps() {
                let (_, load) = axis.load(step);
                assert!(load.ops > 0, "{axis:?} {step}");
                let grown = match axis {
                    Axis::Tasks => load.tasks,
                    Axis::Entries => load.keys,
                    Axis::RemoteBatch | Axis::ColdBatch => load.batch,
                    Axis::Value => load.value,
                };
                assert_eq!(grown, step, "{axis:?}");
            }
        }
    }
}
