//! The result of `--all`: the figures of every peer, and every ratio beside its target.

use std::fmt::Write as _;

use crate::cli::{Peer, Workload};
use crate::line::Line;
use crate::plan::{ADAPTERS, Row};

/// Largest ratio of the time on another async runtime to the time on tokio.
const ADAPTER_MAX: f64 = 1.3;

/// All lines of all rounds.
#[derive(Debug, Default)]
pub struct Results {
    cells: Vec<(Row, Line)>,
}

/// Compared figure of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Calls per second. More is better; for every other metric, less is better.
    Ops,
    /// Nanoseconds per call.
    Nanos,
    /// Median microseconds of a call.
    Median,
    /// Number of runs of the loader.
    Loads,
    /// Microseconds beyond the loader.
    Added,
    /// Microseconds of the server's processor per key.
    Server,
}

impl Metric {
    /// Return the metric that is compared in a row.
    pub fn of(row: Row) -> Self {
        match (row.workload(), row.run(Peer::RedisRs).load.tasks) {
            (Workload::LocalHit, _) => Self::Nanos,
            (Workload::Stampede, _) => Self::Added,
            (_, 1) => Self::Median,
            _ => Self::Ops,
        }
    }

    /// Return the value in one line, or 0 where the line has none.
    pub fn read(self, line: &Line) -> f64 {
        match self {
            Self::Ops => line.ops_per_s,
            Self::Nanos => line.ns_per_op,
            Self::Median => line.p50_us,
            Self::Loads => line.loads as f64,
            Self::Added => line.added_us.unwrap_or_default(),
            Self::Server => line.server_us_per_key(),
        }
    }

    /// Return the unit, and the divisor from the value of a line to the unit.
    pub fn unit(self) -> (&'static str, f64) {
        match self {
            Self::Ops => ("k/s", 1000.0),
            Self::Nanos => ("ns", 1.0),
            Self::Median | Self::Server => ("µs", 1.0),
            Self::Loads => ("loads", 1.0),
            Self::Added => ("ms", 1000.0),
        }
    }

    fn better(self, left: f64, right: f64) -> f64 {
        match self {
            // The worst round counts: no round may have an extra load.
            Self::Ops | Self::Loads => left.max(right),
            Self::Nanos | Self::Median | Self::Added | Self::Server => left.min(right),
        }
    }
}

/// Best and median of a few rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Value of the best round.
    pub best: f64,
    /// Median of all rounds.
    pub median: f64,
}

impl Results {
    /// Add one line.
    pub fn add(&mut self, row: Row, line: Line) {
        self.cells.push((row, line));
    }

    /// Summarize the rounds of one cell, or return `None` if the cell was not measured.
    pub fn summary(&self, row: Row, peer: Peer, metric: Metric) -> Option<Summary> {
        let values: Vec<f64> = self.rounds(row, peer, metric).map(|(_, value)| value).collect();
        let best = values.iter().copied().reduce(|left, right| metric.better(left, right))?;
        Some(Summary { best, median: median(values)? })
    }

    fn rounds(
        &self,
        row: Row,
        peer: Peer,
        metric: Metric,
    ) -> impl Iterator<Item = (Option<usize>, f64)> {
        let cells = self.cells.iter().filter(move |(at, line)| *at == row && line.peer == peer);
        cells.map(move |(_, line)| (line.round, metric.read(line)))
    }

    /// Return the ratio of the best rounds, and the median of the ratios within a round. Both sides
    /// of a round run under the same conditions.
    fn ratio(&self, ours: (Row, Peer), theirs: (Row, Peer), metric: Metric) -> Option<Summary> {
        let best = self.summary(ours.0, ours.1, metric)?.best
            / self.summary(theirs.0, theirs.1, metric)?.best;
        let paired = self.rounds(ours.0, ours.1, metric).filter_map(|(round, our)| {
            let mut others = self.rounds(theirs.0, theirs.1, metric);
            others.find(|(at, _)| *at == round).map(|(_, their)| our / their)
        });
        Some(Summary { best, median: median(paired.collect())? })
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

/// Reference of a target.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// A peer in the same row.
    Peer(Peer),
    /// The plain client in the given row: redis-rs, synchronous for the blocking adapter.
    Plain(Row),
    /// The same adapter in another row.
    Own(Row),
    /// No reference: the value itself is compared, in the unit of its metric.
    Itself,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Clone, Copy, Debug)]
struct Target {
    row: Row,
    metric: Metric,
    against: Against,
    limit: Limit,
}

const fn target(row: Row, metric: Metric, against: Against, limit: Limit) -> Target {
    Target { row, metric, against, limit }
}

/// The targets of every adapter.
const TARGETS: [Target; 25] = {
    use Against::{Itself, Own, Plain};
    use Limit::{AtLeast, AtMost};
    use Metric::{Added, Loads, Median, Nanos, Ops};
    let quick = Against::Peer(Peer::QuickCache);
    let redis_rs_cache = Against::Peer(Peer::RedisRsCache);
    let moka = Against::Peer(Peer::Moka);
    [
        target(Row::LocalOneKey, Nanos, quick, AtMost(2.0)),
        target(Row::LocalOneKey, Ops, redis_rs_cache, AtLeast(4.0)),
        target(Row::LocalOneKey, Ops, moka, AtLeast(3.0)),
        target(Row::LocalManyKeys, Nanos, quick, AtMost(2.0)),
        target(Row::LocalManyKeys, Ops, redis_rs_cache, AtLeast(4.0)),
        target(Row::LocalManyKeys, Ops, moka, AtLeast(3.0)),
        target(Row::LocalTwoTasks, Ops, Own(Row::LocalManyKeys), AtLeast(1.7)),
        target(Row::RemoteOne, Median, Plain(Row::RemoteOne), AtMost(0.7)),
        target(Row::RemoteSome, Ops, Plain(Row::RemoteSome), AtLeast(0.9)),
        target(Row::RemoteSome, Ops, redis_rs_cache, AtLeast(2.0)),
        target(Row::RemoteMany, Ops, Plain(Row::RemoteMany), AtLeast(1.0)),
        target(Row::RemoteLarge, Median, Plain(Row::RemoteLarge), AtMost(1.2)),
        target(Row::RemoteHuge, Median, Plain(Row::RemoteHuge), AtMost(1.2)),
        target(Row::RemoteOneTls, Median, Plain(Row::RemoteOneTls), AtMost(0.7)),
        target(Row::RemoteSomeTls, Ops, Plain(Row::RemoteSomeTls), AtLeast(1.0)),
        target(Row::RemoteOneCluster, Median, Plain(Row::RemoteOneCluster), AtMost(0.7)),
        target(Row::RemoteSomeCluster, Ops, Plain(Row::RemoteSomeCluster), AtLeast(0.9)),
        target(Row::RemoteMultiCluster, Median, Plain(Row::RemoteMultiCluster), AtMost(1.0)),
        target(Row::ColdOne, Median, Plain(Row::RemoteOne), AtMost(1.5)),
        target(Row::ColdSome, Ops, Plain(Row::RemoteSome), AtLeast(0.35)),
        target(Row::ColdMulti, Median, Plain(Row::RemoteOne), AtMost(8.0)),
        target(Row::RemoteMulti, Median, Plain(Row::RemoteMulti), AtMost(1.5)),
        target(Row::LocalMulti, Nanos, Own(Row::LocalOneKey), AtMost(60.0)),
        target(Row::Stampede, Loads, Itself, AtMost(1.0)),
        target(Row::Stampede, Added, Itself, AtMost(1.5)),
    ]
};

/// Return a text with the figures of every peer, and every target beside its result.
pub fn render(results: &Results) -> String {
    let mut text = String::from("\nmeasured (best and median round)\n");
    for row in Row::ALL {
        for peer in row.peers() {
            measured((results, Metric::of(*row)), *row, peer, &mut text);
        }
    }
    text.push_str("\nprocessor time of the server per key (best and median round)\n");
    for row in Row::ALL.iter().filter(|row| row.needs_server()) {
        for peer in row.peers() {
            measured((results, Metric::Server), *row, peer, &mut text);
        }
    }
    text.push_str("\ntargets (ratio of the best rounds, median ratio within a round)\n");
    for adapter in ADAPTERS {
        for target in TARGETS {
            target.judge(results, adapter, &mut text);
        }
        if matches!(adapter, Peer::RedcacheAsyncStd | Peer::RedcacheSmol) {
            for row in Row::ALL {
                beside_tokio(*row).judge(results, adapter, &mut text);
            }
        }
    }
    text
}

fn measured((results, metric): (&Results, Metric), row: Row, peer: Peer, text: &mut String) {
    let (unit, per) = metric.unit();
    let Some(Summary { best, median }) = results.summary(row, peer, metric) else {
        return;
    };
    // Writing to a string cannot fail.
    let _ =
        writeln!(text, "  {row:<36} {peer:<19} {:>10.2} {:>10.2} {unit}", best / per, median / per);
}

fn beside_tokio(row: Row) -> Target {
    let metric = Metric::of(row);
    let limit = match metric {
        Metric::Ops => Limit::AtLeast(1.0 / ADAPTER_MAX),
        Metric::Nanos | Metric::Median | Metric::Loads | Metric::Added | Metric::Server => {
            Limit::AtMost(ADAPTER_MAX)
        }
    };
    Target { row, metric, against: Against::Peer(Peer::RedcacheTokio), limit }
}

impl Target {
    fn judge(&self, results: &Results, adapter: Peer, text: &mut String) {
        let (what, summary) = self.measured(results, adapter);
        let limit = match self.limit {
            Limit::AtMost(limit) => format!("<= {limit:.2}"),
            Limit::AtLeast(limit) => format!(">= {limit:.2}"),
        };
        let (best, median, verdict) = match summary {
            Some(Summary { best, median }) => {
                let verdict = if self.limit.holds(best) { "pass" } else { "missed" };
                (format!("{best:.2}"), format!("{median:.2}"), verdict)
            }
            None => ("-".to_owned(), "-".to_owned(), "not measured"),
        };
        let row = self.row;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {adapter:<19} {row:<36} {what:<44} {best:>8} {median:>8}  {limit:<8} {verdict}"
        );
    }

    fn measured(&self, results: &Results, adapter: Peer) -> (String, Option<Summary>) {
        let metric = self.metric;
        let name = match metric {
            Metric::Ops => "ops/s",
            Metric::Nanos => "ns",
            Metric::Median => "p50",
            Metric::Loads => "loads",
            Metric::Added => "added ms",
            Metric::Server => "server µs per key",
        };
        let (row, peer) = match self.against {
            Against::Itself => {
                let (_, per) = metric.unit();
                let summary = results.summary(self.row, adapter, metric);
                let scale =
                    |Summary { best, median }| Summary { best: best / per, median: median / per };
                return (name.to_owned(), summary.map(scale));
            }
            Against::Peer(peer) => (self.row, peer),
            Against::Plain(row) => (row, plain(adapter)),
            Against::Own(row) => (row, adapter),
        };
        let what = if row == self.row {
            format!("{name} / {peer}")
        } else if peer == adapter {
            format!("{name} / own {row}")
        } else {
            format!("{name} / {peer} {row}")
        };
        (what, results.ratio((self.row, adapter), (row, peer), metric))
    }
}

fn plain(adapter: Peer) -> Peer {
    if adapter == Peer::RedcacheBlocking { Peer::RedisRsSync } else { Peer::RedisRs }
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::{Measurement, Samples};

    /// Add a round in which every call of a row took `micros` microseconds.
    fn add(results: &mut Results, row: Row, peer: Peer, round: usize, micros: u64) {
        let mut samples = Samples::default();
        samples.record(Duration::from_micros(micros));
        let run = row.run(peer);
        let measurement = Measurement {
            ops: 1000,
            elapsed: Duration::from_micros(micros * 1000),
            samples,
            loads: 1,
            added: None,
            server: Duration::ZERO,
            peak_kib: 0,
            commands: 0,
            keys: 1,
        };
        results.add(row, Line { round: Some(round), ..Line::new(&run, measurement) });
    }

    fn verdict_on(results: &Results, target: Target) -> String {
        let mut text = String::new();
        target.judge(results, Peer::RedcacheTokio, &mut text);
        let words: Vec<&str> = text.split_whitespace().collect();
        words[words.len() - 5..].join(" ")
    }

    const P50: Target =
        target(Row::RemoteOne, Metric::Median, Against::Plain(Row::RemoteOne), Limit::AtMost(0.7));

    #[test]
    fn the_best_rounds_decide_and_the_median_is_of_ratios_within_a_round() {
        let mut results = Results::default();
        for (round, (ours, theirs)) in [(30, 50), (50, 100), (90, 100)].into_iter().enumerate() {
            add(&mut results, Row::RemoteOne, Peer::RedcacheTokio, round, ours);
            add(&mut results, Row::RemoteOne, Peer::RedisRs, round, theirs);
        }
        assert_eq!(verdict_on(&results, P50), "0.60 0.60 <= 0.70 pass");
        add(&mut results, Row::RemoteOne, Peer::RedisRs, 3, 40);
        assert_eq!(verdict_on(&results, P50), "0.75 0.60 <= 0.70 missed");
    }

    #[test]
    fn more_calls_per_second_are_better() {
        let mut results = Results::default();
        for (round, micros) in [4, 2, 8].into_iter().enumerate() {
            add(&mut results, Row::RemoteSome, Peer::RedisRs, round, micros);
        }
        let summary = results.summary(Row::RemoteSome, Peer::RedisRs, Metric::Ops).unwrap();
        assert_eq!(summary, Summary { best: 500_000.0, median: 250_000.0 });
    }

    #[test]
    fn what_was_not_measured_neither_passes_nor_falls_short() {
        let text = render(&Results::default());
        assert!(text.contains("not measured"));
        assert!(!text.contains(" pass") && !text.contains(" missed"));
    }

    #[test]
    fn the_blocking_adapter_is_held_against_the_synchronous_client() {
        let mut results = Results::default();
        add(&mut results, Row::RemoteOne, Peer::RedcacheBlocking, 1, 30);
        add(&mut results, Row::RemoteOne, Peer::RedisRsSync, 1, 60);
        let (what, summary) = P50.measured(&results, Peer::RedcacheBlocking);
        assert_eq!(what, "p50 / redis-rs-sync");
        assert_eq!(summary, Some(Summary { best: 0.5, median: 0.5 }));
    }
}
