//! The command line.

use redcache_sim::fault::Fault;
use redcache_sim::invariant::Invariant;
use redcache_sim::tally::Tally;
use redcache_sim::world::Options;

pub(crate) const USAGE: &str = "\
simulate [WORLD] [--seeds N] [--from SEED] [--threads N] [--json]
simulate [WORLD] --replay SEED [--from-start]
simulate --mutants | --mutant NAME [--seeds N]

  --cluster      simulate a cluster instead of one server
  --sentinels    simulate a group under Redis Sentinel instead
  --namespaces   simulate processes that share a namespace which they clear instead
  --changes      make most calls changes, and crash processes often; also with --cluster
  --large        give large values a connection of their own; also with the
                 options above, --namespaces excepted
  --seeds N      the number of worlds (default 2000)
  --from SEED    the first seed (default 0)
  --threads N    the number of threads (default: one per processor)
  --json         print the report as JSON
  --replay SEED  print the trace of one world; of a failing one, the shortest failing run found
  --from-start   with --replay: print the whole trace
  --mutants      build with planted bugs and check that each is found (default: within 60000 seeds)
  --mutant NAME  the same with one bug

Exit status: 0 if every invariant held, 1 if one was violated or a fault or invariant never
occurred, 2 for wrong arguments.";

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) seeds: u64,
    pub(crate) from: u64,
    pub(crate) threads: usize,
    pub(crate) json: bool,
    pub(crate) cluster: bool,
    pub(crate) sentinels: bool,
    pub(crate) namespaces: bool,
    pub(crate) changes: bool,
    pub(crate) large: bool,
    pub(crate) replay: Option<u64>,
    pub(crate) whole: bool,
    pub(crate) hunt: Option<Hunt>,
}

/// The bugs to switch on.
#[derive(Debug)]
pub(crate) enum Hunt {
    All,
    One(String),
}

impl Arguments {
    /// Return the options of every simulated world.
    pub(crate) fn options(&self) -> Options {
        let Self { cluster, sentinels, namespaces, changes, large, .. } = *self;
        Options { cluster, sentinels, namespaces, changes, large, ..Options::default() }
    }

    /// Return the faults that this kind of world can inject.
    pub(crate) fn faults(&self, tally: &Tally) -> impl Iterator<Item = (Fault, u64)> {
        tally.faults().filter(|(fault, _)| match (self.sentinels, self.cluster) {
            _ if self.namespaces => fault.is_of_namespaces(),
            (true, _) => fault.is_of_sentinels(),
            (false, true) => !fault.is_of_one_server() && !fault.is_of_sentinels_only(),
            (false, false) => !fault.is_of_sentinels_only() && !fault.is_of_cluster(),
        })
    }

    /// Return the invariants that this kind of world can check.
    pub(crate) fn coverage(&self, tally: &Tally) -> impl Iterator<Item = (Invariant, u64)> {
        tally.coverage().filter(|(it, _)| match (self.sentinels, self.cluster) {
            _ if self.namespaces => it.is_of_namespaces(),
            _ if it.is_of_large() => self.large && !self.sentinels,
            _ if self.large && it.is_of_stale() => false,
            _ if it.is_of_namespaces_only() => false,
            (true, _) => it.is_of_sentinels(),
            (false, true) => !it.is_of_one_server() && !it.is_of_sentinels_only(),
            (false, false) => !it.is_of_cluster() && !it.is_of_sentinels_only(),
        })
    }
}

pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut arguments = Arguments {
        seeds: 0,
        from: 0,
        threads,
        json: false,
        cluster: false,
        sentinels: false,
        namespaces: false,
        changes: false,
        large: false,
        replay: None,
        whole: false,
        hunt: None,
    };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            text.parse::<u64>().map_err(|_| format!("{word} needs a number, not `{text}`"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--threads" => arguments.threads = usize::try_from(number()?.max(1)).unwrap_or(1),
            "--replay" => arguments.replay = Some(number()?),
            "--mutants" => arguments.hunt = Some(Hunt::All),
            "--mutant" => {
                let name = words.next().ok_or("--mutant needs a name")?;
                arguments.hunt = Some(Hunt::One(name));
            }
            "--cluster" => arguments.cluster = true,
            "--sentinels" => arguments.sentinels = true,
            "--namespaces" => arguments.namespaces = true,
            "--changes" => arguments.changes = true,
            "--large" => arguments.large = true,
            "--json" => arguments.json = true,
            "--from-start" => arguments.whole = true,
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("unknown option `{word}`")),
        }
    }
    if arguments.seeds == 0 {
        arguments.seeds = if arguments.hunt.is_some() { 60_000 } else { 2_000 };
    }
    Ok(Some(arguments))
}
