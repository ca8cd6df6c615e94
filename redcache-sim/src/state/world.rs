//! Everything that a simulated world consists of.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::clock::{Micros, SkewedClock};
use crate::history::{KeyModel, Stamp, Version};
use crate::options::Options;
use crate::plan::Plan;
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

/// Which part of its life the world is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Callers call and faults strike.
    Disturbed,
    /// The faults are over and what they broke heals.
    Quiesced,
    /// The last calls are made, which must succeed.
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
    /// Chance for links, callers, loaders and faults, apart so that one does not change what the others get.
    pub(crate) link_rng: Rng,
    pub(crate) caller_rng: Rng,
    pub(crate) loader_rng: Rng,
    pub(crate) fault_rng: Rng,
    pub(crate) style_rng: Rng,
    pub(crate) start: Instant,
    /// The servers; one, unless they are a cluster.
    pub(crate) nodes: Vec<Node>,
    /// What they are in truth, if they are a cluster.
    pub(crate) cluster: Option<ClusterState>,
    /// The clock that all servers read.
    pub(crate) server_clock: SkewedClock,
    pub(crate) links: Vec<Link>,
    pub(crate) processes: Vec<Process>,
    pub(crate) keys: Vec<KeyModel>,
    pub(crate) versions: Vec<Version>,
    pub(crate) tokens: BTreeMap<Bytes, Token>,
    pub(crate) calls: Vec<Call>,
    /// The calls that wait, in no order.
    pub(crate) waiting: Vec<usize>,
    /// Every failure of a loader: whose, and when.
    pub(crate) failures: Vec<(usize, Micros)>,
    pub(crate) rest_checks: u32,
    /// How often a command was sent on, by what is in it that no other has.
    pub(crate) redirects: BTreeMap<Bytes, u32>,
    /// Locks that have just come and are to be given back.
    pub(crate) unwanted: Vec<Bytes>,
    /// A caller is being dropped or has run out of time, and what it held goes to the next.
    pub(crate) is_handing_over: bool,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(seed: u64, options: &Options) -> Self {
        // The origin of virtual time. Its value shows nowhere; a day is added so that spans can be subtracted from it.
        let start = Instant::now() + Duration::from_secs(24 * 3600);
        let mut rng = Rng::new(seed);
        let plan = Plan::new(seed, options.cluster);
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
            redirects: BTreeMap::new(),
            unwanted: Vec::new(),
            is_handing_over: false,
            trace: Trace::new(options.trace),
            tally: Tally::default(),
            plan,
        }
    }

    /// The server that has the say over a key.
    pub(crate) fn home(&self, key: usize) -> usize {
        let Some(cluster) = &self.cluster else { return 0 };
        let owner = cluster.owner(key);
        match cluster.moving.get(&cluster.slots[key]) {
            Some(&to) if !self.has(owner, key) => cluster.shards[to].primary,
            Some(_) | None => owner,
        }
    }

    /// The slot of a key has moved, or does.
    pub(crate) fn has_moved(&self, key: usize) -> bool {
        let cluster = self.cluster.as_ref();
        cluster.is_some_and(|it| it.versions[key] > 0 || it.moving.contains_key(&it.slots[key]))
    }

    pub(crate) fn has(&self, node: usize, key: usize) -> bool {
        self.nodes[node].server.value(0, self.keys[key].name.as_bytes()).is_some()
    }

    /// The longest that bytes take from one side to the other on a link in good health.
    pub(crate) fn one_way(&self) -> Micros {
        self.plan.latency + self.plan.jitter + self.plan.quantum + 2_000
    }

    /// The time as a process sees it.
    pub(crate) fn time_of(&self, process: usize) -> Instant {
        self.processes[process].clock.at(self.now)
    }

    /// What a key holds, where it is at home.
    pub(crate) fn raw_of(&self, key: usize) -> Option<Bytes> {
        self.nodes[self.home(key)].server.value(0, self.keys[key].name.as_bytes())
    }

    /// How much time a key has left, where it is at home.
    pub(crate) fn ttl_of(&self, key: usize) -> Option<Duration> {
        self.nodes[self.home(key)].server.ttl(0, self.keys[key].name.as_bytes())
    }

    pub(crate) fn key_named(&self, name: &[u8]) -> Option<usize> {
        self.keys.iter().position(|key| key.name.as_bytes() == name)
    }
}
