//! The plan of a namespace: everything that its seed decides before it starts.

use std::time::Duration;

use redcache_core::{Config, ConfigError};

use crate::clock::Micros;
use crate::fault::Fault;
use crate::rng::Rng;

/// The host of all nodes; their ports differ.
pub(super) const HOST: &str = "node";
const FIRST_PORT: u16 = 7000;

/// Return the port of a node.
pub(super) fn port_of(node: usize) -> u16 {
    // There are four nodes at most.
    FIRST_PORT + node as u16
}

const INJECTED: [Fault; 9] = [
    Fault::FlushAll,
    Fault::FlushAll,
    Fault::Eviction,
    Fault::Eviction,
    Fault::Failover,
    Fault::FailoverLossy,
    Fault::Stall,
    Fault::DeadBothWays,
    Fault::CutAfter,
];

/// The decisions of a seed about a namespace.
#[derive(Debug)]
pub(super) struct Plan {
    /// The number of shards; one is a single server.
    pub(super) shards: usize,
    pub(super) processes: usize,
    /// The callers of each process.
    pub(super) callers: usize,
    pub(super) keys: usize,
    pub(super) disturbed: Micros,
    /// The longest pause of a caller.
    pub(super) think: Micros,
    /// The longest duration of a load.
    pub(super) load_lasts: Micros,
    pub(super) latency: Micros,
    pub(super) jitter: Micros,
    /// The replication delay.
    pub(super) lag: Micros,
    pub(super) near_bytes: u64,
    pub(super) command: Duration,
    pub(super) heartbeat: Duration,
    pub(super) connect: Duration,
    pub(super) reconnect: Duration,
    pub(super) injections: Vec<(Micros, Fault)>,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let latency = rng.pick(&[50, 200, 1_000, 3_000]);
        let disturbed = rng.weighted(&[(3, 60_000), (5, 200_000), (2, 600_000)]);
        let count = rng.weighted(&[(3, 0), (3, 1), (4, 4)]);
        let mut injections: Vec<_> =
            (0..count).map(|_| (rng.below(disturbed), rng.pick(&INJECTED))).collect();
        injections.sort_unstable_by_key(|(at, _)| *at);
        let mut pick = |millis: &[u64]| Duration::from_millis(rng.pick(millis));
        let (command, heartbeat) = (pick(&[150, 400]), pick(&[100, 300]));
        let (connect, reconnect) = (pick(&[60, 200]), pick(&[50, 300]));
        Self {
            shards: rng.pick(&[1, 2]),
            processes: rng.weighted(&[(4, 2), (2, 3)]),
            callers: rng.pick(&[1, 2, 3]),
            keys: rng.pick(&[1, 3]),
            disturbed,
            think: rng.pick(&[3_000, 10_000, 30_000]),
            load_lasts: rng.pick(&[100, 5_000, 40_000]),
            latency,
            jitter: rng.pick(&[0, latency / 2, latency * 2]),
            lag: rng.pick(&[1_000, 20_000, 100_000]),
            near_bytes: rng.weighted(&[(1, 0), (8, 64 << 10)]),
            command,
            heartbeat,
            connect,
            reconnect,
            injections,
        }
    }

    /// Return the configuration of each process.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let builder = match self.shards {
            1 => Config::builder().server(HOST, port_of(0)),
            shards => Config::builder()
                .cluster((0..shards).map(|node| (HOST, port_of(node))))
                .discovery_interval(Duration::from_millis(100)),
        };
        builder
            .lock_ttl(Duration::from_millis(150))
            .load_timeout(Duration::from_millis(500))
            .command_timeout(self.command)
            .heartbeat_interval(self.heartbeat)
            .connect_timeout(self.connect)
            .reconnect_delay_max(self.reconnect)
            .near_cache_bytes(self.near_bytes)
            .build()
    }

    /// Return the longest time that bytes take on a healthy link.
    pub(super) fn one_way(&self) -> Micros {
        self.latency + self.jitter + 2_000
    }

    /// Return the longest time for which a process may serve a value that another process has
    /// replaced: one push on a healthy link, and two heartbeats on any other.
    pub(super) fn push(&self) -> Micros {
        let slow = if self.injections.is_empty() { 0 } else { 2 * micros(self.heartbeat) };
        self.one_way() + slow
    }

    /// Return the time within which a call must end.
    pub(super) fn call_lasts(&self) -> Micros {
        let waits = self.load_lasts + 150_000 + 2 * micros(self.command) + 4 * self.one_way();
        20 * waits
    }

    /// Return the time within which a process must be connected once everything is well.
    pub(super) fn healing(&self) -> Micros {
        let span = 4 * self.heartbeat + 4 * self.connect + 4 * self.command + 4 * self.reconnect;
        micros(span) + 1_000_000 + 40 * self.one_way()
    }
}

fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX / 4)
}
