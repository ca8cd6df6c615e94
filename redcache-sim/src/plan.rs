//! The plan of a world: everything that its seed decides before it starts.

pub(crate) mod cluster;
pub(crate) mod faults;
pub(crate) mod own;
pub(crate) mod servers;

use std::time::Duration;

use redcache_core::{Config, Key};

use crate::clock::Micros;
use crate::fault::Fault;
use crate::plan::cluster::{ClusterPlan, HOST, port_of};
use crate::plan::faults::{Faults, Kind, LOADER_AND_CALLER_FAULTS, disable_tracking, injections};
use crate::plan::servers::Servers;
use crate::provider::ProviderPlan;
use crate::rng::Rng;
use crate::server;

/// The way in which transmitted bytes are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cuts {
    Never,
    /// Into a few pieces.
    Some,
    /// Into single bytes, up to a limit of pieces.
    Everywhere,
}

/// The time settings of redcache's configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) lock: Duration,
    pub(crate) command: Duration,
    pub(crate) load: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) connect: Duration,
    pub(crate) reconnect: Duration,
    pub(crate) near: Duration,
}

/// Everything that a seed decides before its world starts.
#[derive(Debug)]
pub(crate) struct Plan {
    /// `None` for a single server.
    pub(crate) cluster: Option<ClusterPlan>,
    pub(crate) processes: usize,
    pub(crate) callers: usize,
    pub(crate) keys: Vec<Key>,
    /// The time for which faults are injected and callers make calls.
    pub(crate) disturbed: Micros,
    /// The longest pause of a caller between calls.
    pub(crate) think: Micros,
    pub(crate) latency: Micros,
    pub(crate) jitter: Micros,
    pub(crate) cuts: Cuts,
    /// Bytes arrive only at multiples of this.
    pub(crate) quantum: Micros,
    pub(crate) times: Times,
    pub(crate) near_bytes: u64,
    pub(crate) value_max: usize,
    /// The longest TTL of values.
    pub(crate) ttl: Duration,
    pub(crate) faults: Faults,
    /// The faults to inject and their times.
    pub(crate) injections: Vec<(Micros, Fault)>,
    /// Parts per million by which each clock is fast: the server's, then each process's.
    pub(crate) skews: Vec<i64>,
    pub(crate) server: server::Config,
    /// The servers that have native commands.
    pub(crate) servers: Servers,
    /// Whether no fault disturbs links and server, so that nothing may fail or be late.
    pub(crate) is_healthy: bool,
    /// Whether the world is healthy, no load is abandoned and no other client writes.
    pub(crate) is_undisturbed: bool,
    /// Whether processes are paused from time to time.
    pub(crate) pauses_processes: bool,
    /// Whether some calls have options.
    pub(crate) has_call_styles: bool,
    /// The time for which a stale value may replace an error or a wait.
    pub(crate) stale_if_error: Duration,
    pub(crate) stale_while_revalidate: Duration,
    /// Whether some calls limit the staleness of their answers.
    pub(crate) limits_staleness: bool,
    /// The number of near hits of which one is checked against the server; zero for none.
    pub(crate) near_audit_every: usize,
    /// The number of commands in flight that are light traffic.
    pub(crate) light_traffic_max: usize,
    /// The number of keys that count as read lately.
    pub(crate) reread_keys: usize,
    /// The limit of the staleness of near hits; zero for none.
    pub(crate) near_staleness_max: Duration,
    /// The refresh-ahead options of a registered loader, if there is one.
    pub(crate) refresh: Option<RefreshAhead>,
    /// The credentials provider, if there is one.
    pub(crate) provider: Option<ProviderPlan>,
    /// Whether the server hangs up on the commands of some key, and nothing else disturbs links or
    /// server.
    pub(crate) only_hangs_up: bool,
    /// The limit of the unanswered bytes of a connection, if it is not the usual one.
    pub(crate) unanswered_max: Option<u64>,
    /// Whether the server does not read now and then, and nothing else disturbs links or server.
    pub(crate) only_unread: bool,
    /// Whether the round trip is longer than the TTL of a lock.
    pub(crate) is_slow: bool,
    /// Whether the last loop of redirects is long.
    pub(crate) redirects_for_long: bool,
    /// The changes among 1,000 calls.
    pub(crate) changes: u64,
    /// The size from which a value is large; zero for none.
    pub(crate) large_value_bytes: usize,
}

/// The options of refresh-ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefreshAhead {
    pub(crate) after: f64,
    pub(crate) beta: f64,
}

/// The largest deviation of a clock, in parts per million.
const SKEW_MAX: u64 = 10_000;

impl Plan {
    #[expect(clippy::too_many_lines, reason = "a line for each field")]
    pub(crate) fn new(seed: u64, is_cluster: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0x7265_6463_6163_6865);
        let cluster = is_cluster.then(|| ClusterPlan::new(&mut rng));
        let processes = rng.weighted(&[(2, 1), (4, 2), (3, 3), (1, 5)]);
        let mut latency = rng.pick(&[50, 200, 1000, 3000]);
        let kind = rng.weighted(&[(2, Kind::Undisturbed), (4, Kind::Harmless), (9, Kind::Harmful)]);
        let mut times = times(kind, &mut rng);
        // A command must reach every owner of a moving slot within its timeout.
        let is_brisk = is_cluster && kind != Kind::Harmful;
        if is_brisk {
            latency = latency.min(1000);
            times.connect = Duration::from_millis(200);
        }
        let mut faults = Faults::default();
        let behaviors = if kind == Kind::Undisturbed { 0 } else { rng.below(4) };
        for _ in 0..behaviors {
            faults.add(rng.pick(&LOADER_AND_CALLER_FAULTS));
        }
        let disturbed = rng.weighted(&[(3, 80_000), (5, 300_000), (3, 900_000)]);
        let injections = injections(kind, disturbed, is_cluster, &mut rng);
        for (_, fault) in &injections {
            faults.add(*fault);
        }
        let mut server =
            server::Config { log_max: 0, seed: rng.next(), ..server::Config::default() };
        server.version = rng.pick(&[(7, 0, 15), (7, 2, 4), (7, 4, 1)]);
        if kind == Kind::Harmful && rng.chance(60) {
            disable_tracking(&mut faults, &mut server, &mut rng);
        }
        let skewed = rng.chance(300);
        if skewed {
            faults.add(Fault::SkewedClock);
        }
        let skews = (0..=processes).map(|_| if skewed { skew(&mut rng) } else { 0 }).collect();
        let mut plan = Self {
            cluster,
            processes,
            callers: rng.weighted(&[(2, 1), (4, 2), (3, 3), (1, 6)]),
            keys: keys(is_cluster, &mut rng),
            disturbed,
            think: rng.pick(&[4_000, 20_000, 60_000]),
            latency,
            jitter: rng.pick(&[0, latency / 2, latency * 2]),
            cuts: rng.weighted(&[(6, Cuts::Never), (3, Cuts::Some), (1, Cuts::Everywhere)]),
            quantum: rng.weighted(&[(6, 1), (2, 500), (u64::from(!is_brisk), 5_000)]),
            times,
            near_bytes: rng.weighted(&[(1, 0), (7, 64 << 10), (2, 4 << 10)]),
            value_max: 256,
            ttl: if faults.has(Fault::Expiry) {
                Duration::from_millis(rng.between(2, 200))
            } else {
                Duration::from_secs(3600)
            },
            is_healthy: kind != Kind::Harmful,
            is_undisturbed: kind == Kind::Undisturbed,
            pauses_processes: kind == Kind::Harmful && rng.chance(300),
            faults,
            injections,
            skews,
            server,
            servers: Servers::Same,
            // These draws come last, so that everything above is the same with and without them.
            has_call_styles: rng.chance(400),
            stale_if_error: staleness(is_cluster, &mut rng),
            stale_while_revalidate: staleness(is_cluster, &mut rng),
            limits_staleness: false,
            near_audit_every: 0,
            light_traffic_max: 0,
            reread_keys: 0,
            near_staleness_max: Duration::ZERO,
            refresh: None,
            provider: None,
            only_hangs_up: false,
            unanswered_max: None,
            only_unread: false,
            is_slow: false,
            redirects_for_long: false,
            changes: 0,
            large_value_bytes: 0,
        };
        // The checks of both cover a single server only.
        if !is_cluster && rng.chance(250) {
            plan.refresh_ahead(&mut rng);
        }
        if is_cluster && rng.chance(150) {
            plan.faults.add(Fault::PartialShards);
            plan.server.lists_own_shard = true;
        }
        plan.add_provider(kind, &mut rng);
        if kind != Kind::Undisturbed && rng.chance(120) {
            plan.hang_up(kind, &mut rng);
        }
        plan.limit_staleness(&mut rng);
        if kind == Kind::Harmful && !is_cluster && rng.chance(60) {
            plan.faults.add(Fault::HelloHangUp);
            plan.server.hello = server::HelloSupport::HangsUp;
        }
        if kind == Kind::Undisturbed && !is_cluster && rng.chance(120) {
            plan.slow_down();
        }
        plan.allow_for_long_handshake();
        plan.servers = Servers::choose(&mut plan.server, &mut plan.faults, &mut rng);
        plan.audit_and_change(&mut rng);
        plan.add_own(seed);
        plan.add_script_hang_ups(seed);
        plan.add_stalls(seed);
        plan.forbid_untracking(seed);
        plan.prolong_redirects(seed);
        plan
    }

    /// Draw whether there is a credentials provider.
    fn add_provider(&mut self, kind: Kind, rng: &mut Rng) {
        if rng.chance(200) {
            let lifetime = Duration::from_millis(rng.pick(&[300, 500, 1_200]));
            let is_faulty = kind == Kind::Harmful && rng.chance(800);
            self.provider = Some(ProviderPlan { lifetime, is_faulty });
        }
    }

    /// Draw the limits of the staleness of answers and of near hits.
    fn limit_staleness(&mut self, rng: &mut Rng) {
        self.limits_staleness = rng.chance(250);
        let millis = rng.weighted(&[(6, 0), (1, 10), (2, 40), (1, 150)]);
        self.near_staleness_max = Duration::from_millis(millis);
    }

    /// Draw how many near hits are audited, how many calls change data, and what counts as load.
    fn audit_and_change(&mut self, rng: &mut Rng) {
        self.near_audit_every = rng.weighted(&[(6, 0), (2, 1), (2, 3)]);
        self.changes = rng.weighted(&[(5, 0), (3, 60), (2, 300)]);
        if self.only_hangs_up {
            // More commands of the key on which the server hangs up could outlast the others' time.
            self.changes = 0;
        }
        self.light_traffic_max = rng.pick(&[0, 1, 8]);
        self.reread_keys = rng.pick(&[1, 2, 1000]);
    }

    /// Allow for the round trip that a login takes if the server refuses `HELLO`.
    fn allow_for_long_handshake(&mut self) {
        if self.provider.is_some() && self.faults.has(Fault::NoProto) {
            self.times.connect = Duration::from_millis(200);
        }
    }

    /// Have the server hang up on the commands of some key, from time to time.
    fn hang_up(&mut self, kind: Kind, rng: &mut Rng) {
        self.faults.add(Fault::HangUp);
        let count = rng.between(1, 3);
        let times = (0..count).map(|_| (rng.below(self.disturbed), Fault::HangUp));
        self.injections.extend(times);
        self.injections.sort_by_key(|(at, _)| *at);
        self.only_hangs_up = kind == Kind::Harmless;
        self.is_healthy = false;
        if self.only_hangs_up {
            // Several commands are found one after another, each by a few connections.
            self.times.command = Duration::from_secs(2);
        }
    }

    /// Choose a round trip that is longer than the TTL of a lock.
    fn slow_down(&mut self) {
        self.is_slow = true;
        self.is_undisturbed = false;
        (self.latency, self.jitter, self.quantum, self.cuts) = (60_000, 0, 1, Cuts::Never);
        self.processes = self.processes.min(2);
        self.disturbed = 3_000_000;
        self.times = Times {
            lock: Duration::from_millis(100),
            command: Duration::from_secs(1),
            load: Duration::from_millis(500),
            heartbeat: Duration::from_millis(700),
            connect: Duration::from_secs(2),
            ..self.times
        };
    }

    /// Choose TTLs so short that values become due within the run.
    fn refresh_ahead(&mut self, rng: &mut Rng) {
        self.ttl = Duration::from_millis(rng.between(60, 400));
        self.faults.add(Fault::Expiry);
        let (after, beta) =
            rng.pick(&[(0.1, 0.0), (0.5, 0.0), (0.5, 0.0), (0.8, 0.0), (0.0, 3.0), (0.5, 3.0)]);
        self.refresh = Some(RefreshAhead { after, beta });
        // "Not found" is the only payload that is written repeatedly.
        if rng.chance(300) {
            self.faults.add(Fault::LoaderNotFound);
            self.faults.add(Fault::LoaderSlow);
            self.keys.truncate(1);
            self.ttl = Duration::from_millis(rng.between(400, 2_000));
            self.refresh = Some(RefreshAhead { after: 0.02, beta: 0.0 });
        }
    }

    /// Return whether stale answers are allowed.
    pub(crate) fn allows_stale(&self) -> bool {
        !(self.stale_if_error.is_zero() && self.stale_while_revalidate.is_zero())
    }

    /// Return whether some loads may exceed their time limit.
    pub(crate) fn has_long_loads(&self) -> bool {
        let long = [Fault::LoaderNeverEnds, Fault::LoaderSlowerThanLock, Fault::LoaderSlow];
        long.into_iter().any(|fault| self.faults.has(fault))
    }

    /// Return the configuration of each process.
    pub(crate) fn config(&self) -> Result<Config, redcache_core::ConfigError> {
        let times = &self.times;
        let builder = match &self.cluster {
            None => Config::builder().server("redis", 6379),
            Some(cluster) => {
                let seeds = cluster.seeds.iter().map(|&node| (HOST, port_of(node)));
                Config::builder().cluster(seeds).discovery_interval(cluster.refresh)
            }
        };
        let builder = match self.provider {
            // The world answers.
            Some(_) => builder.blocking_credentials_provider(|_| Err("not asked".into())),
            None => builder,
        };
        builder
            .lock_ttl(times.lock)
            .command_timeout(times.command)
            .load_timeout(times.load)
            .heartbeat_interval(times.heartbeat)
            .connect_timeout(times.connect)
            .reconnect_delay_max(times.reconnect)
            .near_ttl_max(times.near)
            .near_cache_bytes(self.near_bytes)
            .near_staleness_max(self.near_staleness_max)
            .near_audit_every(self.near_audit_every)
            .value_max(self.value_max)
            .large_value_bytes(self.large_value_bytes)
            .stale_if_error(self.stale_if_error)
            .stale_while_revalidate(self.stale_while_revalidate)
            .build()
    }
}

fn times(kind: Kind, rng: &mut Rng) -> Times {
    let mut pick = |millis: &[u64]| Duration::from_millis(rng.pick(millis));
    Times {
        lock: pick(&[100, 150, 400]),
        command: pick(if kind == Kind::Harmful { &[60, 150, 400] } else { &[400] }),
        load: pick(&[150, 500]),
        heartbeat: pick(&[100, 300, 700]),
        connect: pick(if kind == Kind::Harmful { &[60, 200] } else { &[200] }),
        reconnect: pick(&[50, 300]),
        near: pick(&[20, 300, 3_600_000, 3_600_000]),
    }
}

fn staleness(is_cluster: bool, rng: &mut Rng) -> Duration {
    if is_cluster {
        return Duration::ZERO;
    }
    Duration::from_millis(rng.weighted(&[(7, 0), (1, 30), (2, 500)]))
}

fn skew(rng: &mut Rng) -> i64 {
    let skew = i64::try_from(rng.below(2 * SKEW_MAX + 1)).unwrap_or(0);
    skew - i64::try_from(SKEW_MAX).unwrap_or(0)
}

fn keys(is_cluster: bool, rng: &mut Rng) -> Vec<Key> {
    // In a cluster, two of the keys share a slot.
    let last: &[u8] = if is_cluster { b"{k}" } else { b"\x00\r\n>\xff" };
    let names: [&[u8]; 5] = [b"k", b"user:{1}", b"__redcache:lock:key", b"", last];
    let first = rng.index(names.len());
    let count = rng.weighted(&[(4, 1), (4, 2), (2, 4)]);
    (0..count).map(|at| Key::from(names[(first + at) % names.len()])).collect()
}
