//! One measurement as one line of JSON.

use std::fmt;
use std::str::FromStr;

use crate::Failure;
use crate::cli::{Peer, Run, Workload};
use crate::measure::Measurement;

/// One measurement in its printed form.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Workload of the run.
    pub workload: Workload,
    /// Client under measurement.
    pub peer: Peer,
    /// Number of concurrent callers.
    pub tasks: usize,
    /// Calls in total.
    pub ops: usize,
    /// Calls per second, all tasks together.
    pub ops_per_s: f64,
    /// Nanoseconds per call, all tasks together.
    pub ns_per_op: f64,
    /// Median time of a call, in microseconds.
    pub p50_us: f64,
    /// 99th percentile of the time of a call, in microseconds.
    pub p99_us: f64,
    /// 99.9th percentile of the time of a call, in microseconds.
    pub p999_us: f64,
    /// Number of runs of the loader.
    pub loads: u64,
    /// Distinct keys read.
    pub keys: usize,
    /// Keys per call; 1 if a call reads one key.
    pub batch: usize,
    /// Bytes per value.
    pub value: usize,
    /// Number of commands that the server executed during the measurement.
    pub commands: u64,
    /// Processor time of the server during the measurement, in microseconds.
    pub server_us: f64,
    /// Peak memory of the process, in KiB; 0 where the system does not report it.
    pub peak_kib: u64,
    /// Time of a stampede beyond its loader, in microseconds.
    pub added_us: Option<f64>,
    /// Whether the connections were encrypted.
    pub tls: bool,
    /// Whether the servers were a cluster.
    pub cluster: bool,
    /// Round of `--all`.
    pub round: Option<usize>,
}

impl Line {
    /// Summarize the measurement of one run.
    pub fn new(run: &Run, mut measurement: Measurement) -> Self {
        measurement.samples.sort();
        // The elapsed time is above zero, even below the resolution of the clock.
        let seconds = measurement.elapsed.as_secs_f64().max(1e-9);
        let multi = matches!(
            run.workload,
            Workload::LocalMulti | Workload::RemoteMulti | Workload::ColdMulti
        );
        Self {
            workload: run.workload,
            peer: run.peer,
            tasks: run.load.tasks,
            ops: measurement.ops,
            ops_per_s: measurement.ops as f64 / seconds,
            ns_per_op: seconds * 1e9 / measurement.ops as f64,
            p50_us: measurement.samples.quantile_us(0.5),
            p99_us: measurement.samples.quantile_us(0.99),
            p999_us: measurement.samples.quantile_us(0.999),
            loads: measurement.loads,
            keys: measurement.keys,
            batch: if multi { run.load.batch } else { 1 },
            value: run.load.value,
            commands: measurement.commands,
            server_us: measurement.server.as_secs_f64() * 1e6,
            peak_kib: measurement.peak_kib,
            added_us: measurement.added.map(|added| added.as_secs_f64() * 1e6),
            tls: run.tls,
            cluster: run.cluster,
            round: None,
        }
    }
}

impl Line {
    /// Return the processor time of the server per key that was read, in microseconds.
    pub fn server_us_per_key(&self) -> f64 {
        self.server_us / (self.ops * self.batch) as f64
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"{{"workload":"{}","peer":"{}","tasks":{},"ops":{},"ops_per_s":{:.1},"ns_per_op":{:.1}"#,
            self.workload, self.peer, self.tasks, self.ops, self.ops_per_s, self.ns_per_op
        )?;
        write!(
            f,
            r#","p50_us":{:.3},"p99_us":{:.3},"p999_us":{:.3},"loads":{}"#,
            self.p50_us, self.p99_us, self.p999_us, self.loads
        )?;
        write!(
            f,
            r#","keys":{},"batch":{},"value":{},"commands":{}"#,
            self.keys, self.batch, self.value, self.commands
        )?;
        write!(f, r#","server_us":{:.0},"peak_kib":{}"#, self.server_us, self.peak_kib)?;
        write!(f, r#","server_us_per_key":{:.3}"#, self.server_us_per_key())?;
        if let Some(added) = self.added_us {
            write!(f, r#","added_us":{added:.1}"#)?;
        }
        if self.tls {
            f.write_str(r#","tls":true"#)?;
        }
        if self.cluster {
            f.write_str(r#","cluster":true"#)?;
        }
        if let Some(round) = self.round {
            write!(f, r#","round":{round}"#)?;
        }
        f.write_str("}")
    }
}

impl FromStr for Line {
    type Err = Failure;

    /// Parse a printed [`Line`]: one flat object without nesting or escapes.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let body = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let body = body.ok_or_else(|| format!("not an object: {text}"))?;
        let fields = Fields(body);
        Ok(Self {
            workload: fields.need("workload")?,
            peer: fields.need("peer")?,
            tasks: fields.need("tasks")?,
            ops: fields.need("ops")?,
            ops_per_s: fields.need("ops_per_s")?,
            ns_per_op: fields.need("ns_per_op")?,
            p50_us: fields.need("p50_us")?,
            p99_us: fields.need("p99_us")?,
            p999_us: fields.need("p999_us")?,
            loads: fields.need("loads")?,
            keys: fields.need("keys")?,
            batch: fields.need("batch")?,
            value: fields.need("value")?,
            commands: fields.need("commands")?,
            server_us: fields.need("server_us")?,
            peak_kib: fields.need("peak_kib")?,
            added_us: fields.find("added_us").map(|_| fields.need("added_us")).transpose()?,
            tls: fields.find("tls").is_some(),
            cluster: fields.find("cluster").is_some(),
            round: fields.find("round").map(|_| fields.need("round")).transpose()?,
        })
    }
}

struct Fields<'a>(&'a str);

impl Fields<'_> {
    fn find(&self, name: &str) -> Option<&str> {
        self.0.split(',').find_map(|field| {
            let (key, value) = field.split_once(':')?;
            (key.trim().trim_matches('"') == name).then_some(value.trim().trim_matches('"'))
        })
    }

    fn need<T: FromStr>(&self, name: &str) -> Result<T, Failure> {
        let text = self.find(name).ok_or_else(|| format!("no {name} in {{{}}}", self.0))?;
        text.parse().map_err(|_| format!("{name} cannot be {text:?}").into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::Load;
    use crate::measure::Samples;

    fn line() -> Line {
        let mut samples = Samples::default();
        for micros in 1..=4 {
            samples.record(Duration::from_micros(micros));
        }
        let measurement = Measurement {
            ops: 4,
            elapsed: Duration::from_micros(8),
            samples,
            loads: 1,
            added: Some(Duration::from_micros(1500)),
            commands: 3,
            server: Duration::from_micros(5),
            peak_kib: 6,
            keys: 1,
        };
        let workload = Workload::Stampede;
        let load = Load::of(workload, Some(4));
        let (tls, cluster, quiet) = (false, false, false);
        Line::new(&Run { workload, peer: Peer::Moka, load, tls, cluster, quiet }, measurement)
    }

    #[test]
    fn a_line_starts_with_the_fields_that_other_programs_read() {
        let expected = concat!(
            r#"{"workload":"stampede","peer":"moka","tasks":4,"ops":4,"ops_per_s":500000.0,"#,
            r#""ns_per_op":2000.0,"p50_us":2.000,"p99_us":4.000,"p999_us":4.000,"loads":1,"#,
            r#""keys":1,"batch":1,"value":64,"commands":3,"server_us":5,"peak_kib":6,"#,
            r#""server_us_per_key":1.250,"added_us":1500.0}"#,
        );
        assert_eq!(line().to_string(), expected);
    }

    #[test]
    fn a_line_reads_back_as_itself() {
        let line = Line { tls: true, cluster: true, round: Some(2), ..line() };
        assert_eq!(line.to_string().parse::<Line>().unwrap(), line);
    }

    #[test]
    fn a_broken_line_is_named() {
        for (text, complaint) in [
            ("[]", "not an object: []"),
            (r#"{"workload":"nap"}"#, "workload cannot be \"nap\""),
            (r#"{"workload":"local_hit"}"#, "no peer in {\"workload\":\"local_hit\"}"),
        ] {
            assert_eq!(text.parse::<Line>().unwrap_err().to_string(), complaint);
        }
    }
}
