//! The whole state of a simulated world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::clock::{Micros, SkewedClock};
use crate::history::{KeyModel, Stamp, Version};
use crate::options::Options;
use crate::plan::Plan;
use crate::provider::Provider;
use crate::rng::Rng;
use crate::server::Server;
use crate::state::call::Call;
use crate::state::cluster;
use crate::state::cluster::ClusterState;
use crate::state::link::Link;
use crate::state::node::Node;
use crate::state::process::Process;
use crate::state::queue::Queue;
use crate::state::token::Token;
use crate::state::trace::Trace;
use crate::tally::Tally;

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Callers make calls and faults are injected.
    Disturbed,
    /// The faults have ended and their effects heal.
    Quiesced,
    /// The last calls are made and must succeed.
    Probing,
    Over,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) phase: Phase,
    pub(crate) now: Micros,
    pub(crate) stamp: Stamp,
    pub(crate) steps: u64,
    pub(crate) disturbed_steps: u64,
    pub(crate) disturbed_steps_max: u64,
    pub(crate) calls_made: u64,
    pub(crate) queue: Queue,
    /// The generator of the links. Each purpose has its own generator, so that the draws of one do
    /// not change those of another.
    pub(crate) link_rng: Rng,
    pub(crate) caller_rng: Rng,
    pub(crate) loader_rng: Rng,
    pub(crate) fault_rng: Rng,
    pub(crate) style_rng: Rng,
    pub(crate) freshness_rng: Rng,
    pub(crate) change_rng: Rng,
    pub(crate) stall_rng: Rng,
    pub(crate) start: Instant,
    /// The servers, more than one only in a cluster.
    pub(crate) nodes: Vec<Node>,
    /// The real state of the cluster, if there is one.
    pub(crate) cluster: Option<ClusterState>,
    /// The clock of all servers.
    pub(crate) server_clock: SkewedClock,
    pub(crate) links: Vec<Link>,
    /// The credentials provider, if there is one.
    pub(crate) provider: Option<Provider>,
    pub(crate) processes: Vec<Process>,
    pub(crate) keys: Vec<KeyModel>,
    pub(crate) versions: Vec<Version>,
    pub(crate) tokens: BTreeMap<Bytes, Token>,
    pub(crate) calls: Vec<Call>,
    /// The waiting calls, in no order.
    pub(crate) waiting: Vec<usize>,
    /// The failures of loaders: the call and the time.
    pub(crate) failures: Vec<(usize, Micros)>,
    pub(crate) rest_checks: u32,
    /// The longest round trip of an answered command.
    pub(crate) slowest_trip: Micros,
    /// The time by which every process has tried `HELLO` again, if one must.
    pub(crate) hello_by: Option<Micros>,
    /// The keys on whose commands a server has hung up, or would have.
    pub(crate) fatal_keys: BTreeSet<usize>,
    /// The number of redirects of each unique command.
    pub(crate) redirects: BTreeMap<Bytes, u32>,
    /// Locks that have just arrived and must be released.
    pub(crate) unwanted: Vec<Bytes>,
    /// Whether a dropped or timed-out caller is handing its load to the next waiter.
    pub(crate) is_handing_over: bool,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(seed: u64, options: &Options) -> Self {
        // The origin of virtual time. The added day allows subtracting spans from it.
        let start = Instant::now() + Duration::from_secs(24 * 3600);
        let mut rng = Rng::new(seed);
        let mut plan = Plan::new(seed, options.cluster);
        if options.large {
            plan.add_large_values(seed);
        }
        if options.changes {
            plan.change_and_crash(seed);
        }
        let server_clock = SkewedClock::new(start, plan.skews[0]);
        let cluster = plan.cluster.as_ref().map(|it| ClusterState::new(&plan.keys, it.lag));
        let nodes = match &cluster {
            Some(cluster) => cluster::nodes(cluster, &server_clock, &plan.server),
            None => vec![Node::new(Server::new(server_clock.at(0), plan.server.clone()))],
        };
        let keys = plan.keys.iter().cloned().map(KeyModel::new).collect();
        Self {
            phase: Phase::Disturbed,
            now: 0,
            stamp: 0,
            steps: 0,
            disturbed_steps: 0,
            disturbed_steps_max: options.disturbed_steps_max.unwrap_or(u64::MAX),
            calls_made: 0,
            queue: Queue::default(),
            link_rng: rng.fork(),
            caller_rng: rng.fork(),
            loader_rng: rng.fork(),
            fault_rng: rng.fork(),
            style_rng: rng.fork(),
            provider: {
                let rng = rng.fork();
                plan.provider.map(|plan| Provider::new(plan, rng))
            },
            freshness_rng: rng.fork(),
            change_rng: rng.fork(),
            stall_rng: rng.fork(),
            start,
            nodes,
            cluster,
            server_clock,
            links: Vec::new(),
            processes: Vec::new(),
            keys,
            versions: Vec::new(),
            tokens: BTreeMap::new(),
            calls: Vec::new(),
            waiting: Vec::new(),
            failures: Vec::new(),
            rest_checks: 0,
            slowest_trip: 0,
            hello_by: None,
            fatal_keys: BTreeSet::new(),
            redirects: BTreeMap::new(),
            unwanted: Vec::new(),
            is_handing_over: false,
            trace: Trace::new(options.trace),
            tally: Tally::default(),
            plan,
        }
    }

    /// Return the server that is authoritative for a key.
    pub(crate) fn home(&self, key: usize) -> usize {
        let Some(cluster) = &self.cluster else { return 0 };
        let owner = cluster.owner(key);
        match cluster.moving.get(&cluster.slots[key]) {
            Some(&to) if !self.has(owner, key) => cluster.shards[to].primary,
            Some(_) | None => owner,
        }
    }

    /// Return the commands that the process on a link has sent since `MULTI`; `None` outside a
    /// transaction.
    pub(crate) fn queued_on(&self, link: usize) -> Option<&[Vec<Bytes>]> {
        let Link { client: Some(client), node: Some(node), .. } = self.links[link] else {
            return None;
        };
        self.nodes[node].server.transaction(client)
    }

    /// Return whether the slot of a key has moved or is moving.
    pub(crate) fn has_moved(&self, key: usize) -> bool {
        let cluster = self.cluster.as_ref();
        cluster.is_some_and(|it| it.versions[key] > 0 || it.moving.contains_key(&it.slots[key]))
    }

    pub(crate) fn has(&self, node: usize, key: usize) -> bool {
        self.nodes[node].server.value(0, self.keys[key].name.as_bytes()).is_some()
    }

    /// Return the longest time that bytes take on a healthy link.
    pub(crate) fn one_way(&self) -> Micros {
        self.plan.latency + self.plan.jitter + self.plan.quantum + 2_000
    }

    /// Return the time on a process's clock.
    pub(crate) fn time_of(&self, process: usize) -> Instant {
        self.processes[process].clock.at(self.now)
    }

    /// Return the content of a key at its authoritative server.
    pub(crate) fn raw_of(&self, key: usize) -> Option<Bytes> {
        self.nodes[self.home(key)].server.value(0, self.keys[key].name.as_bytes())
    }

    /// Return the remaining TTL of a key at its authoritative server.
    pub(crate) fn ttl_of(&self, key: usize) -> Option<Duration> {
        self.nodes[self.home(key)].server.ttl(0, self.keys[key].name.as_bytes())
    }

    pub(crate) fn key_named(&self, name: &[u8]) -> Option<usize> {
        self.keys.iter().position(|key| key.name.as_bytes() == name)
    }
}
