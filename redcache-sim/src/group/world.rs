//! The whole state of a group.

use std::collections::{BTreeMap, VecDeque};

use redcache_core::Key;
use redcache_core::engine::{Engine, OpId};

use super::link::Link;
use super::plan::{Plan, SENTINELS};
use super::sentinel::Sentinel;
use crate::clock::Micros;
use crate::options::Options;
use crate::provider::Provider;
use crate::rng::Rng;
use crate::server::{Config, KeyCopy, Server};
use crate::timeline::Timeline;
use crate::wiring::{Host, Port, Wake};

pub(super) const SERVERS: usize = 3;

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
    /// A call of a process must have ended.
    Deadline(usize, u64),
    /// The provider answers a question.
    Credentials(usize),
    /// The credentials of an answer expire.
    Expiry(usize),
    /// Changes of the primary reach its replicas.
    Replicate,
    /// A planned fault is injected.
    Fault(usize),
    /// A replica takes over.
    Promote(Switch),
    /// A sentinel learns of another primary.
    Learn {
        sentinel: usize,
        primary: usize,
        /// The number of the switch.
        epoch: u64,
    },
    /// A server learns that it is a replica.
    Demote(usize),
    /// A frozen server resumes.
    Resume(usize),
    /// A killed server starts again.
    Return(usize),
    ReviveSentinel(usize),
    /// The faults end.
    Heal,
    /// The last calls are made.
    Probe,
    /// The end of the run, at which no state may be left.
    Rest,
}

impl From<Wake> for Event {
    fn from(wake: Wake) -> Self {
        Self::Wiring(wake)
    }
}

/// A switch, in which a replica replaces the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Switch {
    pub(super) old: usize,
    pub(super) new: usize,
    /// Whether writes that have not reached the replica are lost.
    pub(super) loses: bool,
}

/// One server of the group.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) host: Host,
    pub(super) is_replica: bool,
    pub(super) is_dead: bool,
    pub(super) is_frozen: bool,
    /// The instant at which it last went on after it was frozen.
    pub(super) resumed_at: Option<Micros>,
}

/// A call that has not ended.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) is_probe: bool,
}

/// One process: an engine, and the servers that sentinels have named to it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) port: Port,
    /// The server that a sentinel has named last.
    pub(super) named: Option<usize>,
    pub(super) calls: BTreeMap<usize, (OpId, Call)>,
    /// The number of last calls that have succeeded.
    pub(super) probed: usize,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) phase: Phase,
    pub(super) timeline: Timeline<Event>,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<Node>,
    pub(super) sentinels: Vec<Sentinel>,
    /// The server that a majority of the sentinels has made the primary.
    pub(super) primary: usize,
    /// The number of the last switch that the sentinels receive.
    pub(super) epoch: u64,
    /// The switch that is about to happen.
    pub(super) switch: Option<Switch>,
    pub(super) links: Vec<Link>,
    pub(super) processes: Vec<Process>,
    pub(super) provider: Provider,
    pub(super) keys: Vec<Key>,
    /// Changes in transit to the replicas, and the times at which they arrive.
    pub(super) under_way: VecDeque<(Micros, usize, Option<KeyCopy>)>,
    /// The last content sent of each key.
    pub(super) sent: Vec<Option<KeyCopy>>,
}

/// The sizes from which values may be large, which have 7 bytes or more.
const LARGE_VALUES: [usize; 3] = [1, 8, 9];

impl World {
    pub(super) fn new(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::new(seed ^ 0x7365_6e74_696e_656c);
        let mut plan = Plan::new(&mut rng);
        if options.large {
            plan.large_value_bytes = Rng::new(seed).pick(&LARGE_VALUES);
        }
        let timeline = Timeline::new(options);
        let start = timeline.time();
        let nodes = (0..SERVERS).map(|number| {
            let password = plan.server_login.password().map(str::to_owned);
            let config = Config { log_max: 0, seed: rng.next(), password, ..Config::default() };
            let mut server = Server::new(start, config);
            server.set_read_only(number > 0);
            Node {
                host: Host::new(server),
                is_replica: number > 0,
                is_dead: false,
                is_frozen: false,
                resumed_at: None,
            }
        });
        let nodes = nodes.collect();
        let keys: Vec<Key> = (0..plan.keys).map(|number| Key::from(format!("k{number}"))).collect();
        let processes = (0..plan.processes).filter_map(|_| {
            // The settings of a plan are valid.
            let config = plan.config().ok()?;
            let engine = Engine::new(start, &rng.engine_seed(), config);
            Some(Process {
                port: Port::new(engine),
                named: None,
                calls: BTreeMap::new(),
                probed: 0,
            })
        });
        let processes = processes.collect();
        Self {
            phase: Phase::Disturbed,
            timeline,
            rng: rng.fork(),
            nodes,
            sentinels: vec![Sentinel::new(); SENTINELS],
            primary: 0,
            epoch: 0,
            switch: None,
            links: Vec::new(),
            processes,
            provider: Provider::new(plan.provider, rng.fork()),
            sent: vec![None; keys.len()],
            keys,
            under_way: VecDeque::new(),
            plan,
        }
    }
}
