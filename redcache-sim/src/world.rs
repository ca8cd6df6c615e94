//! A whole world in one thread: processes that share a Redis, the links between them, and what goes wrong.
//!
//! [`simulate`] is a function of its seed. Each process is a real [`redcache_core::Engine`]; the server is the model in
//! [`crate::server`]; links, callers, loaders, faults and time are made here. After every step the checks of
//! [`crate::check`] look at both sides. Towards the end the faults stop, and everything must come to rest.
//!
//! ```text
//!  callers, loaders ─▶ engine ─▶ link ─▶ server
//!         ▲              ▲  ▼      ▲        ▲
//!         └── outcomes ──┘  near   └ faults ┘
//! ```
//!
//! ```
//! use redcache_sim::world::{Options, simulate};
//!
//! let run = simulate(7, &Options::default());
//! assert!(run.violation.is_none());
//! assert_eq!(run.hash, simulate(7, &Options::default()).hash);
//! ```

mod call;
mod caller;
mod calm;
pub(crate) mod cluster;
pub(crate) mod dice;
mod disturb;
mod drive;
mod loader;
mod manner;
pub(crate) mod node;
mod plan;
pub(crate) mod process;
pub(crate) mod queue;
mod refresh;
mod serve;
mod shorten;
pub(crate) mod skew;
mod trace;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(crate) use self::call::{Call, Given, Kind, Load, LoadEnd, State};
pub(crate) use self::manner::Manner;
pub(crate) use self::plan::Plan;
pub use self::shorten::shortest;

pub(crate) use self::serve::{request_end, words};

use self::cluster::Truth;
use self::dice::Dice;
use self::node::Node;
use self::process::Process;
use self::queue::{Happening, Queue};
use self::skew::{Micros, Skew};
use self::trace::Trace;
use crate::check::command::Token;
use crate::check::{Checked, Fault, Invariant, Tally};
use crate::link::Link;
use crate::model::{KeyModel, Stamp, Version};
use crate::server::Server;

/// How to run a world.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The server is a cluster.
    pub cluster: bool,
    /// Write down what happens, for people to read.
    pub trace: bool,
    /// End the disturbed part after so many steps, if it has not ended by then.
    pub disturbed_steps_max: Option<u64>,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The seed that it was made from.
    pub seed: u64,
    /// How many things happened.
    pub steps: u64,
    /// How many of them before the faults ended.
    pub disturbed_steps: u64,
    /// How many calls were made.
    pub calls: u64,
    /// How much time passed in the world.
    pub lasted: Duration,
    /// Of everything that happened; equal for equal seeds.
    pub hash: u64,
    /// How often each fault and each premise occurred.
    pub tally: Tally,
    /// What did not hold, if something did not. The run ended there.
    pub violation: Option<Violation>,
    /// What happened, line by line, if it was wanted.
    pub trace: Vec<String>,
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// In what way.
    pub text: String,
}

/// Runs the world of a seed to its end, or to the first violation.
pub fn simulate(seed: u64, options: &Options) -> Run {
    let mut world = World::new(seed, options);
    let broken = world.run().err();
    world.trace.line(world.now, || match &broken {
        Some(breach) => format!("BROKEN: {} ({})", breach.invariant.says(), breach.text),
        None => "all at rest".to_owned(),
    });
    Run {
        seed,
        steps: world.steps,
        disturbed_steps: world.disturbed_steps,
        calls: world.calls_made,
        lasted: Duration::from_micros(world.now),
        hash: world.trace.hash(),
        tally: world.tally,
        violation: broken.map(|it| Violation { invariant: it.invariant, text: it.text }),
        trace: world.trace.into_lines(),
    }
}

/// Which part of its life the world is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Callers call and faults strike.
    Disturbed,
    /// The faults are over and what they broke heals.
    Calm,
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
    disturbed_steps: u64,
    disturbed_steps_max: u64,
    calls_made: u64,
    pub(crate) queue: Queue,
    /// Chance for links, callers, loaders and faults, apart so that one does not change what the others get.
    link_dice: Dice,
    caller_dice: Dice,
    loader_dice: Dice,
    fault_dice: Dice,
    manner_dice: Dice,
    start: Instant,
    /// The servers; one, unless they are a cluster.
    pub(crate) nodes: Vec<Node>,
    /// What they are in truth, if they are a cluster.
    pub(crate) cluster: Option<Truth>,
    /// The clock that all servers read.
    pub(crate) server_clock: Skew,
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
    rest_checks: u32,
    /// How often a command was sent on, by what is in it that no other has.
    pub(crate) redirects: BTreeMap<Bytes, u32>,
    /// Locks that have just come and are to be given back.
    unwanted: Vec<Bytes>,
    /// A caller is being dropped or has run out of time, and what it held goes to the next.
    pub(crate) is_handing_over: bool,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
}

/// More steps than any run of an engine that makes progress takes.
const STEPS_MAX: u64 = 400_000;

impl World {
    fn new(seed: u64, options: &Options) -> Self {
        // The origin of virtual time. Its value shows nowhere; a day is added so that spans can be subtracted from it.
        let start = Instant::now() + Duration::from_secs(24 * 3600);
        let mut dice = Dice::new(seed);
        let plan = Plan::new(seed, options.cluster);
        let server_clock = Skew::new(start, plan.skews[0]);
        let cluster = plan.cluster.as_ref().map(|it| Truth::new(&plan.keys, it.lag));
        let nodes = match &cluster {
            Some(truth) => cluster::nodes(truth, &server_clock, &plan.server),
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
            link_dice: dice.fork(),
            caller_dice: dice.fork(),
            loader_dice: dice.fork(),
            fault_dice: dice.fork(),
            manner_dice: dice.fork(),
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

    fn run(&mut self) -> Checked {
        self.begin()?;
        while let Some((at, happening)) = self.queue.next() {
            self.now = self.now.max(at);
            if self.put_off(happening) {
                continue;
            }
            self.steps += 1;
            self.trace.mix(&[at, self.stamp]);
            self.step(happening)?;
            self.check_near()?;
            self.check_wake_ups()?;
            if self.phase == Phase::Over {
                return Ok(());
            }
            if self.phase == Phase::Disturbed {
                self.disturbed_steps = self.steps;
                if self.steps == self.disturbed_steps_max {
                    self.calm()?;
                }
            }
            Invariant::Liveness
                .holds(self.steps < STEPS_MAX, || format!("no rest after {STEPS_MAX} steps"))?;
        }
        Err(Invariant::Liveness.broken("nothing is left to happen"))
    }

    fn begin(&mut self) -> Checked {
        if self.plan.faults.has(Fault::Skew) {
            self.tally.fault(Fault::Skew);
        }
        for fault in [Fault::NoTracking, Fault::NoProto] {
            if self.plan.faults.has(fault) {
                self.tally.fault(fault);
            }
        }
        self.trace.line(0, || "the world begins".to_owned());
        for process in 0..self.plan.processes {
            self.start_process(process)?;
            for caller in 0..self.plan.callers {
                let at = self.caller_dice.below(self.plan.think);
                self.queue.plan(at, Happening::Act(process * self.plan.callers + caller));
            }
        }
        for at in 0..self.plan.strikes.len() {
            self.queue.plan(self.plan.strikes[at].0, Happening::Fault(at));
        }
        self.queue.plan(self.plan.disturbed, Happening::Calm);
        Ok(())
    }

    /// Puts off what concerns a process that is paused.
    fn put_off(&mut self, happening: Happening) -> bool {
        let process = match happening {
            Happening::EngineTimeout(process) | Happening::Work(process, _) => process,
            Happening::Dialed(link) | Happening::ToClient(link) => self.links[link].process,
            Happening::Act(caller) => caller / self.plan.callers,
            Happening::Drop(call) | Happening::Loaded(call, _) | Happening::Deadline(call) => {
                self.calls[call].process
            }
            Happening::Silence(link) => self.links[link].process,
            Happening::ServerTimeout(_)
            | Happening::Replicate(_)
            | Happening::MoveKey(_)
            | Happening::EndMove(_)
            | Happening::Trim(..)
            | Happening::Promote(_)
            | Happening::Reasked(_)
            | Happening::ToServer(_)
            | Happening::Fault(_)
            | Happening::Recover(..)
            | Happening::Resume(_)
            | Happening::Restart(_)
            | Happening::Calm
            | Happening::Healed
            | Happening::Rest => return false,
        };
        let until = self.processes[process].paused_until;
        if until <= self.now {
            return false;
        }
        if let Happening::EngineTimeout(process) = happening {
            let timer = &mut self.processes[process].timer_at;
            if *timer != Some(self.now) {
                return true;
            }
            *timer = Some(until);
        }
        let slack = match happening {
            // What the pause kept from happening has to happen first.
            Happening::Deadline(_) | Happening::Silence(_) => 2 * self.one_way(),
            _ => 0,
        };
        self.queue.plan(until + slack, happening);
        true
    }

    fn step(&mut self, happening: Happening) -> Checked {
        match happening {
            Happening::EngineTimeout(process) => self.on_engine_timeout(process),
            Happening::ServerTimeout(node) => self.on_server_timeout(node),
            Happening::Dialed(link) => self.on_dialed(link),
            Happening::ToServer(link) => self.on_to_server(link),
            Happening::ToClient(link) => self.on_to_client(link),
            Happening::Act(caller) => self.act(caller),
            Happening::Work(process, life) => self.work(process, life),
            Happening::Drop(call) => self.drop_call(call),
            Happening::Loaded(call, turn) => self.on_load_ended(call, turn),
            Happening::Deadline(call) => self.check_deadline(call),
            Happening::Silence(link) => self.check_silence(link),
            Happening::Fault(strike) => self.strike(strike),
            Happening::Recover(node, fault) => self.recover(node, fault),
            Happening::Replicate(shard) => self.replicate(shard, self.now),
            Happening::MoveKey(key) => self.move_key(key),
            Happening::EndMove(key) => self.end_move(key),
            Happening::Trim(node, key) => self.trim(node, key),
            Happening::Promote(shard) => self.succeed(shard),
            Happening::Reasked(link) => self.check_reasked(link),
            Happening::Resume(_) => Ok(()),
            Happening::Restart(process) => self.restart_process(process),
            Happening::Calm => self.calm(),
            Happening::Healed => self.healed(),
            Happening::Rest => self.rest(),
        }
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
