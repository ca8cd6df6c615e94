//! The whole state of a namespace and the processes that use it.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use redcache_core::engine::{Engine, Generation, LastGeneration, OpId};
use redcache_core::protocol::Slot;

use super::call::Call;
use super::plan::{HOST, Plan, port_of};
use crate::clock::Micros;
use crate::history::Stamp;
use crate::options::Options;
use crate::rng::Rng;
use crate::server::{Cluster, Config, KeyCopy, Member, Server};
use crate::timeline::Timeline;
use crate::wiring::{Host, Port, Wake, Wire};

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Callers make calls and faults are injected.
    Disturbed,
    /// The faults have ended and their effects heal.
    Healing,
    /// The last calls are made and must succeed.
    Probing,
    Over,
}

/// An event of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Wiring(Wake),
    /// A dial ends.
    Dialed(usize),
    /// A process makes its next call.
    Act(usize),
    /// The loader of a call ends.
    Loaded(usize),
    /// A call must have ended.
    Deadline(usize),
    /// A planned fault is injected.
    Fault(usize),
    /// The replica of a shard takes over.
    FailOver(usize),
    /// The faults end.
    Heal,
    /// The last calls are made.
    Probe,
    /// Nothing may be left.
    Rest,
}

impl From<Wake> for Event {
    fn from(wake: Wake) -> Self {
        Self::Wiring(wake)
    }
}

/// One connection between a process and a node.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) wire: Wire,
    pub(super) node: usize,
}

/// One process: an engine, and the running calls.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) port: Port,
    pub(super) last: LastGeneration,
    pub(super) calls: BTreeMap<OpId, usize>,
    /// The commits that failed, each with the time of its failure, until no removal is kept.
    pub(super) failed: Vec<(usize, Micros)>,
}

/// The version of a key that answers to later calls must reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Floor {
    /// The time at which the write ended.
    pub(super) at: Micros,
    /// The greatest version of any write so far.
    pub(super) version: u64,
    pub(super) is_clear: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) phase: Phase,
    pub(super) timeline: Timeline<Event>,
    pub(super) stamp: Stamp,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<Host>,
    /// The node that owns the slots of each shard.
    pub(super) primaries: Vec<usize>,
    /// The copies that the replica of each shard has received.
    pub(super) copies: Vec<Vec<(Bytes, KeyCopy)>>,
    pub(super) links: Vec<Link>,
    pub(super) processes: Vec<Process>,
    pub(super) calls: Vec<Call>,
    /// The version of each key in the database.
    pub(super) database: Vec<u64>,
    /// The floors of each key in the order of time: of the writes of all processes, and of those of
    /// one.
    pub(super) floors: BTreeMap<(usize, Option<usize>), Vec<Floor>>,
    /// The stamp of the clear that wrote each generation.
    pub(super) cleared: BTreeMap<Generation, Stamp>,
    /// The time of the last loss of acknowledged writes.
    pub(super) lost_at: Option<Micros>,
    pub(super) probes_left: usize,
}

impl World {
    pub(super) fn new(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::new(seed ^ 0x6e61_6d65_7370_6163);
        let plan = Plan::new(&mut rng);
        let timeline = Timeline::new(options);
        let start = timeline.time();
        let nodes = nodes(&plan, start, &mut rng);
        let processes = (0..plan.processes).filter_map(|_| {
            // The settings of a plan are valid.
            let config = plan.config().ok()?;
            let engine = Engine::new(start, &rng.engine_seed(), config);
            let (last, calls) = (LastGeneration::default(), BTreeMap::new());
            Some(Process { port: Port::new(engine), last, calls, failed: Vec::new() })
        });
        let processes = processes.collect();
        Self {
            phase: Phase::Disturbed,
            timeline,
            stamp: 0,
            rng: rng.fork(),
            nodes,
            primaries: (0..plan.shards).collect(),
            copies: vec![Vec::new(); plan.shards],
            links: Vec::new(),
            processes,
            calls: Vec::new(),
            database: vec![0; plan.keys],
            floors: BTreeMap::new(),
            cleared: BTreeMap::new(),
            lost_at: None,
            probes_left: 0,
            plan,
        }
    }

    pub(super) fn next_stamp(&mut self) -> Stamp {
        self.stamp += 1;
        self.stamp
    }

    /// Return the node that owns the slot of a name.
    pub(super) fn home(&self, name: &[u8]) -> usize {
        let count = usize::from(Slot::COUNT);
        self.primaries[Slot::of(name).index() * self.plan.shards / count]
    }
}

/// Return a server, or a primary and a replica for each shard.
fn nodes(plan: &Plan, start: Instant, rng: &mut Rng) -> Vec<Host> {
    let shards = plan.shards;
    let members = (0..2 * shards).map(|node| Member {
        replica_of: node.checked_sub(shards),
        epoch: node as u64 + 1,
        ..Member::new(format!("{node:040}"), HOST, port_of(node))
    });
    let mut view = Cluster::new(members.collect(), 0);
    let count = usize::from(Slot::COUNT);
    for slot in (0..Slot::COUNT).filter_map(Slot::new) {
        view.assign(slot, Some(slot.index() * shards / count));
    }
    let nodes = if shards == 1 { 1 } else { 2 * shards };
    let node = |number: usize| {
        let config = Config { log_max: 0, seed: rng.next(), ..Config::default() };
        let mut server = Server::new(start, config);
        if shards > 1 {
            server.join_cluster(view.seen_by(number));
        }
        Host::new(server)
    };
    (0..nodes).map(node).collect()
}
