//! The command line of `compare`: text in, a [`Command`] out.

use std::path::PathBuf;
use std::time::Duration;

use crate::Failure;
use crate::tls::TlsPort;

/// Text of `compare --help`.
pub const USAGE: &str = "\
compare: one workload against one peer, or everything against everything.

  compare [--redis ADDR] --workload W --peer P [--tasks N] [--ops N] [--keys N]
          [--batch N] [--value BYTES] [--beside BYTES] [--loader-ms N] [--tls]
  compare [--redis ADDR] --all [--rounds N] [--plot DIR]
  compare [--redis ADDR] --growth
  compare [--redis ADDR] --staleness [--seconds N]

  --redis ADDR     host:port of a running Redis. Without it a redis-server is started on a free
                   loopback port and stopped at the end (REDIS_SERVER names the program).
  --workload W     local_hit | remote_hit | cold_miss | local_multi | remote_multi | cold_multi
                   | stampede
  --peer P         redcache-tokio | redcache-async-std | redcache-smol | redcache-blocking
                   | redis-rs | redis-rs-cache | redis-rs-sync | fred | rustis-cache
                   | moka | quick-cache
  --tasks N        callers at once (1; stampede: 1000); threads for the blocking peers
  --ops N          calls in total, shared out evenly; one per task in a stampede
  --keys N         distinct keys of local_hit, shared out so that no two tasks read the same one
                   (10000); the other workloads take as many keys as they need
  --batch N        keys per call of the multi workloads (100)
  --value BYTES    size of every value (64)
  --beside BYTES   another task reads a value of this size over and over, with the same client; its
                   reads are not counted
  --loader-ms N    how long the loader of a stampede takes (50)
  --tls            measure over TLS: the adapters of redcache, redis-rs and redis-rs-sync. A server
                   that is named by --redis also needs --tls-port and --tls-ca
  --tls-port N     the port of that server on localhost with TLS
  --tls-ca FILE    the certificates to trust there, as a PEM file
  --cluster        measure on a cluster: the adapters of redcache, redis-rs and redis-rs-sync. With
                   --redis, ADDR is one of its nodes; without, three nodes are started
  --all            the whole table, peers alternating within each round, then ratios and targets
  --rounds N       rounds of --all (3, but fewer where that would take more than six minutes)
  --plot DIR       with --all: SVG charts of the same lines
  --staleness      reads that are older than the row, and how old, beside other caches
  --seconds N      with --staleness: how long each client reads (10)
  --growth         redcache-tokio with more tasks, entries, keys per call and bytes per value
  --quiet          no header with versions on standard error

One JSON object per line on standard output. ops_per_s and ns_per_op are for all tasks together;
the quantiles are of single calls, except in local_hit, where the clock is read once per hundredth
of the loop. commands counts what the server executed during the measurement, scripts' own calls
included, server_us its processor time, peak_kib our memory. server_us_per_key counts each key of
a call. added_us (stampede) is what the last caller waited beyond the loader.
Exit status: 0 measured, 1 failed, 2 the peer cannot do this workload.";

/// Declare an enum whose variants have names.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All variants, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Return the name on the command line and in the JSON lines.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::Failure;

            fn from_str(text: &str) -> Result<Self, $crate::Failure> {
                let found = Self::ALL.iter().find(|one| one.name() == text);
                found.copied().ok_or_else(|| {
                    format!("unknown {} {text:?}", stringify!($name).to_lowercase()).into()
                })
            }
        }
    };
}
pub(crate) use names;

names! {
    /// Workload of a measurement.
    Workload {
        /// Read keys in the near cache.
        LocalHit = "local_hit",
        /// Read keys in Redis that are not in the near cache.
        RemoteHit = "remote_hit",
        /// Read missing keys with a loader that answers at once.
        ColdMiss = "cold_miss",
        /// Read a batch of keys in the near cache.
        LocalMulti = "local_multi",
        /// Read a batch of keys in Redis.
        RemoteMulti = "remote_multi",
        /// Read a batch of missing keys.
        ColdMulti = "cold_multi",
        /// Read one missing key from many tasks at once, with a slow loader.
        Stampede = "stampede",
    }
}

names! {
    /// Client under measurement.
    Peer {
        /// redcache on tokio.
        RedcacheTokio = "redcache-tokio",
        /// redcache on async-std.
        RedcacheAsyncStd = "redcache-async-std",
        /// redcache on smol.
        RedcacheSmol = "redcache-smol",
        /// redcache on plain threads.
        RedcacheBlocking = "redcache-blocking",
        /// redis-rs without a cache: the reference.
        RedisRs = "redis-rs",
        /// redis-rs with its client-side cache.
        RedisRsCache = "redis-rs-cache",
        /// The synchronous redis-rs: the reference of the blocking adapter.
        RedisRsSync = "redis-rs-sync",
        /// fred without a cache.
        Fred = "fred",
        /// rustis with its client-side cache.
        RustisCache = "rustis-cache",
        /// moka, in the process only.
        Moka = "moka",
        /// quick_cache, in the process only.
        QuickCache = "quick-cache",
    }
}

/// Size of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Number of concurrent callers.
    pub tasks: usize,
    /// Calls in total.
    pub ops: usize,
    /// Distinct keys of `local_hit`.
    pub keys: usize,
    /// Keys per call of the multi workloads.
    pub batch: usize,
    /// Bytes per value.
    pub value: usize,
    /// Bytes of the value that another task reads over and over; zero for no such task.
    pub beside: usize,
    /// Milliseconds that the loader of a stampede takes.
    pub loader_ms: u64,
}

/// One workload against one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Workload of the run.
    pub workload: Workload,
    /// Client under measurement.
    pub peer: Peer,
    /// Size of the workload.
    pub load: Load,
    /// Whether the connections are encrypted.
    pub tls: bool,
    /// Whether the servers are a cluster.
    pub cluster: bool,
    /// Whether to omit the header with versions.
    pub quiet: bool,
}

/// Server under test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redis {
    /// Address of a running server: `host:port`. Without it we start one.
    pub address: Option<String>,
    /// The port with TLS of the running server.
    pub tls: Option<TlsPort>,
    /// Whether the server is a node of a cluster.
    pub cluster: bool,
}

/// Command of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Print [`USAGE`].
    Help,
    /// Measure once.
    One(Redis, Run),
    /// Measure everything.
    All(Redis, All),
    /// Measure the growth of cost along each axis.
    Growth(Redis),
    /// Measure the age of reads, each client for this time.
    Staleness(Redis, Duration),
}

/// The options of `--all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct All {
    /// Number of rounds; by default three, or as many as fit into the time limit.
    pub rounds: Option<usize>,
    /// Folder of the charts.
    pub plot: Option<PathBuf>,
}

impl Load {
    /// Return a load that takes about a second on the slower peers.
    pub fn of(workload: Workload, tasks: Option<usize>) -> Self {
        let stampede = workload == Workload::Stampede;
        let tasks = tasks.unwrap_or(if stampede { 1000 } else { 1 });
        let ops = match (workload, tasks) {
            (Workload::LocalHit, _) => 2_000_000,
            (Workload::RemoteHit, 1) => 10_000,
            (Workload::RemoteHit, _) => 100_000,
            (Workload::ColdMiss, 1) => 5_000,
            (Workload::ColdMiss, _) => 50_000,
            (Workload::LocalMulti, _) => 20_000,
            (Workload::RemoteMulti | Workload::ColdMulti, _) => 1_000,
            (Workload::Stampede, _) => tasks,
        };
        Self { tasks, ops, keys: 10_000, batch: 100, value: 64, beside: 0, loader_ms: 50 }
    }
}

/// Options of the command line, before the defaults of a workload apply.
#[derive(Default)]
struct Given {
    redis: Option<String>,
    workload: Option<Workload>,
    peer: Option<Peer>,
    tasks: Option<usize>,
    ops: Option<usize>,
    keys: Option<usize>,
    batch: Option<usize>,
    value: Option<usize>,
    beside: Option<usize>,
    loader_ms: Option<u64>,
    tls: bool,
    cluster: bool,
    tls_port: Option<u16>,
    tls_ca: Option<PathBuf>,
    all: bool,
    growth: bool,
    staleness: bool,
    seconds: Option<usize>,
    rounds: Option<usize>,
    plot: Option<PathBuf>,
    quiet: bool,
    help: bool,
}

impl Command {
    /// Parse the arguments after the program's name.
    ///
    /// # Errors
    ///
    /// Fails with the name of an argument that is unknown, incomplete, out of range or missing.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let given = Given::read(arguments)?;
        if given.help {
            return Ok(Self::Help);
        }
        let redis = given.redis()?;
        if given.all {
            if given.workload.is_some() || given.peer.is_some() {
                return Err("--all takes no --workload and no --peer".into());
            }
            let all = All { rounds: given.rounds, plot: given.plot };
            return Ok(Self::All(redis, all));
        }
        if given.growth {
            return Ok(Self::Growth(redis));
        }
        if given.staleness {
            let seconds = given.seconds.unwrap_or(10) as u64;
            return Ok(Self::Staleness(redis, Duration::from_secs(seconds)));
        }
        if given.plot.is_some() || given.rounds.is_some() {
            return Err("--plot and --rounds belong to --all".into());
        }
        let workload = given.workload.ok_or("--workload is missing (or --all); see --help")?;
        let peer = given.peer.ok_or("--peer is missing (or --all); see --help")?;
        let load = given.load(workload);
        let Given { tls, cluster, quiet, .. } = given;
        let run = Run { workload, peer, load, tls, cluster, quiet };
        Ok(Self::One(redis, run))
    }
}

impl Given {
    fn read(arguments: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let mut given = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            // Both spellings, `--tasks 2` and `--tasks=2`, are common enough to be typed by habit.
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| arguments.next())
                    .ok_or_else(|| Failure::from(format!("{name} needs a value")))
            };
            match name {
                "--redis" => {
                    let address = value()?;
                    let address = address.strip_prefix("redis://").unwrap_or(&address);
                    given.redis = Some(address.trim_end_matches('/').to_owned());
                }
                "--workload" => given.workload = Some(value()?.parse()?),
                "--peer" => given.peer = Some(value()?.parse()?),
                "--tasks" => given.tasks = Some(positive(name, &value()?)?),
                "--ops" => given.ops = Some(positive(name, &value()?)?),
                "--keys" => given.keys = Some(positive(name, &value()?)?),
                "--batch" => given.batch = Some(positive(name, &value()?)?),
                "--value" => given.value = Some(positive(name, &value()?)?),
                "--beside" => given.beside = Some(positive(name, &value()?)?),
                "--loader-ms" => given.loader_ms = Some(positive(name, &value()?)? as u64),
                "--tls" => given.tls = true,
                "--cluster" => given.cluster = true,
                "--tls-port" => given.tls_port = Some(port(name, &value()?)?),
                "--tls-ca" => given.tls_ca = Some(PathBuf::from(value()?)),
                "--all" => given.all = true,
                "--growth" => given.growth = true,
                "--staleness" => given.staleness = true,
                "--seconds" => given.seconds = Some(positive(name, &value()?)?),
                "--rounds" => given.rounds = Some(positive(name, &value()?)?),
                "--plot" => given.plot = Some(PathBuf::from(value()?)),
                "--quiet" => given.quiet = true,
                "--help" | "-h" => given.help = true,
                _ => return Err(format!("unknown argument {argument:?}; see --help").into()),
            }
        }
        Ok(given)
    }

    fn redis(&self) -> Result<Redis, Failure> {
        let (address, cluster) = (self.redis.clone(), self.cluster);
        if cluster && (self.tls || self.all || self.growth || self.staleness) {
            return Err("--cluster belongs to a single workload without --tls".into());
        }
        match (&address, self.tls_port, &self.tls_ca) {
            (Some(_), None, None) if self.tls => {
                Err("--tls and --redis also need --tls-port and --tls-ca".into())
            }
            (_, None, None) => Ok(Redis { address, tls: None, cluster }),
            (Some(_), Some(port), Some(ca)) => {
                let tls = Some(TlsPort { port, ca: ca.clone() });
                Ok(Redis { address, tls, cluster })
            }
            _ => Err("--redis, --tls-port and --tls-ca belong together".into()),
        }
    }

    fn load(&self, workload: Workload) -> Load {
        let usual = Load::of(workload, self.tasks);
        // A stampede is one call per task, regardless of `--ops`.
        let stampede = workload == Workload::Stampede;
        Load {
            tasks: usual.tasks,
            ops: self.ops.filter(|_| !stampede).unwrap_or(usual.ops),
            keys: self.keys.unwrap_or(usual.keys),
            batch: self.batch.unwrap_or(usual.batch),
            value: self.value.unwrap_or(usual.value),
            beside: self.beside.unwrap_or(usual.beside),
            loader_ms: self.loader_ms.unwrap_or(usual.loader_ms),
        }
    }
}

fn positive(name: &str, text: &str) -> Result<usize, Failure> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{name} wants a number above 0, not {text:?}").into()),
        Ok(number) => Ok(number),
    }
}

fn port(name: &str, text: &str) -> Result<u16, Failure> {
    text.parse().map_err(|_| format!("{name} wants a port, not {text:?}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words = line.split_whitespace().map(str::to_owned);
        Command::parse(words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_single_run_takes_the_defaults_of_its_workload() {
        let command = parse("--workload remote_hit --peer fred --tasks=64").unwrap();
        let load = Load {
            tasks: 64,
            ops: 100_000,
            keys: 10_000,
            batch: 100,
            value: 64,
            beside: 0,
            loader_ms: 50,
        };
        let run = Run {
            workload: Workload::RemoteHit,
            peer: Peer::Fred,
            load,
            tls: false,
            cluster: false,
            quiet: false,
        };
        assert_eq!(command, Command::One(Redis::default(), run));
    }

    #[test]
    fn a_stampede_is_one_call_per_task() {
        let command = parse("--workload stampede --peer moka --ops 7 --tasks 20").unwrap();
        let Command::One(_, run) = command else { panic!("{command:?}") };
        assert_eq!((run.load.tasks, run.load.ops), (20, 20));
    }

    #[test]
    fn every_name_reads_back_as_itself() {
        for workload in Workload::ALL {
            assert_eq!(workload.name().parse::<Workload>().unwrap(), *workload);
        }
        for peer in Peer::ALL {
            assert_eq!(peer.name().parse::<Peer>().unwrap(), *peer);
        }
    }

    #[test]
    fn a_scheme_in_front_of_the_address_is_dropped() {
        let command = parse("--redis redis://127.0.0.1:7000/ --all").unwrap();
        let all = All { rounds: None, plot: None };
        let address = Some("127.0.0.1:7000".to_owned());
        let redis = Redis { address, ..Redis::default() };
        assert_eq!(command, Command::All(redis, all));
    }

    #[test]
    fn nonsense_is_refused_with_its_name() {
        for (line, complaint) in [
            ("--workload nap --peer fred", "unknown workload \"nap\""),
            ("--peer fred", "--workload is missing"),
            ("--workload local_hit", "--peer is missing"),
            ("--workload local_hit --peer fred --tasks 0", "--tasks wants a number above 0"),
            ("--workload local_hit --peer fred --tasks", "--tasks needs a value"),
            ("--all --peer fred", "--all takes no"),
            ("--all --tls-port 7", "--redis, --tls-port and --tls-ca belong together"),
            ("--redis a:1 --tls --all", "--tls and --redis also need"),
            ("--cluster --all", "--cluster belongs to a single workload"),
            ("--frobnicate", "unknown argument \"--frobnicate\""),
        ] {
            let told = parse(line).unwrap_err();
            assert!(told.starts_with(complaint), "{line}: {told}");
        }
    }
}
