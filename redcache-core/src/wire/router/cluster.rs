//! A cluster as it is known here: whose each slot is, and when to ask again.

use std::time::{Duration, Instant};

use super::{ConnId, NodeId};
use crate::api::config::{Address, Config};
use crate::api::error::{Error, ErrorKind};
use crate::protocol::slot::{Slot, SlotSet};
use crate::rng::Rng;
use crate::wire::backoff::Backoff;

use super::node::is_lasting;

/// So many nodes are kept at most: all primaries that a cluster may have, and as many that were or will be.
pub(super) const NODES_MAX: usize = 2 * crate::protocol::topology::PRIMARIES_MAX;
/// How long a node is kept that owns no slot and of which nothing is awaited.
pub(super) const IDLE_KEPT: Duration = Duration::from_secs(1);
/// The least time between two questions, so that a slot on the move does not make for thousands.
const QUESTION_GAP: Duration = Duration::from_millis(50);
/// How often a cluster is asked while one of its slots cannot be reached.
const TROUBLE_INTERVAL: Duration = Duration::from_millis(500);
/// So many answers in a row may be older than what is known. After that the cluster has been made anew.
const OLDER_MAX: u8 = 8;

#[derive(Debug)]
pub(super) struct Cluster {
    owners: Box<[Option<NodeId>]>,
    /// Some node has said who owns what.
    pub(super) is_known: bool,
    epoch: Option<u64>,
    older: u8,
    pub(super) seeds: Seeds,
    /// When to ask again who owns what.
    ask_at: Instant,
    asked_at: Option<Instant>,
    /// Where an answer is awaited, and until when.
    asked: Option<(ConnId, Instant)>,
    /// Something has happened since the question was asked.
    again: bool,
    /// Who probably knows best.
    pub(super) hint: Option<Address>,
    /// Who was asked last.
    pub(super) turn: usize,
}

/// The nodes that are asked as long as no other is connected.
#[derive(Debug)]
pub(super) struct Seeds {
    pub(super) addresses: Vec<Address>,
    /// Which is next.
    pub(super) next: usize,
    /// Which is being tried.
    pub(super) tried: Option<NodeId>,
    /// There is nobody else to ask.
    pub(super) is_needed: bool,
    try_at: Instant,
    backoff: Backoff,
    /// Why the last one could not be asked.
    fault: Option<Error>,
}

impl Cluster {
    pub(super) fn new(now: Instant, seeds: &[Address], config: &Config) -> Self {
        Self {
            owners: vec![None; usize::from(Slot::COUNT)].into(),
            is_known: false,
            epoch: None,
            older: 0,
            seeds: Seeds {
                addresses: seeds.to_vec(),
                next: 0,
                tried: None,
                is_needed: false,
                try_at: now,
                backoff: Backoff::new(config.reconnect_delay_max),
                fault: None,
            },
            ask_at: now,
            asked_at: None,
            asked: None,
            again: false,
            hint: None,
            turn: 0,
        }
    }

    pub(super) fn owner(&self, slot: Slot) -> Option<NodeId> {
        self.owners[slot.index()]
    }

    pub(super) fn slots_of(&self, id: NodeId) -> SlotSet {
        Slot::all().filter(|slot| self.owner(*slot) == Some(id)).collect()
    }

    /// Gives a slot to a node; says whose it was.
    pub(super) fn assign(&mut self, slot: Slot, id: Option<NodeId>) -> Option<NodeId> {
        std::mem::replace(&mut self.owners[slot.index()], id)
    }

    /// Judges the number that came with an answer: `false` when what is known here is newer.
    pub(super) fn accepts(&mut self, epoch: Option<u64>) -> bool {
        let is_older = epoch.zip(self.epoch).is_some_and(|(epoch, known)| epoch < known);
        if is_older && !mutant!(OlderMapTrusted) {
            self.older += 1;
            if self.older <= OLDER_MAX {
                return false;
            }
        }
        self.older = 0;
        self.epoch = epoch;
        true
    }

    /// Something hints at a change of owners, of which the node at `hint` may know.
    pub(super) fn request_discovery(&mut self, now: Instant, hint: Option<Address>) {
        self.hint = hint.or_else(|| self.hint.take());
        if self.asked.is_some() {
            self.again = true;
        } else {
            self.ask_at = self.ask_at.min(self.earliest_question(now));
        }
    }

    /// A node cannot be reached, again.
    pub(super) fn request_discovery_soon(&mut self, now: Instant) {
        self.ask_at = self.ask_at.min(now + TROUBLE_INTERVAL);
    }

    fn earliest_question(&self, now: Instant) -> Instant {
        self.asked_at.map_or(now, |asked_at| now.max(asked_at + QUESTION_GAP))
    }

    /// Whether it is time to ask. An answer that does not come in time is no longer waited for.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        match self.asked {
            Some((_, until)) if now < until => false,
            Some(_) => {
                self.asked = None;
                true
            }
            None => self.ask_at <= now,
        }
    }

    pub(super) fn on_asked(&mut self, now: Instant, conn: ConnId, config: &Config) {
        self.asked = Some((conn, now + config.command_timeout));
        self.asked_at = Some(now);
        self.again = false;
        self.hint = None;
    }

    /// An answer came, or will not come; plans the next question.
    pub(super) fn on_answered(&mut self, now: Instant, interval: Duration, rng: &mut Rng) {
        self.asked = None;
        let spread = interval / 5;
        let regular = now + (interval - spread / 2) + rng.below(spread);
        let again = std::mem::take(&mut self.again);
        self.ask_at = if again { regular.min(self.earliest_question(now)) } else { regular };
    }

    /// How long until the next question, as things stand.
    pub(super) fn interval(&self, is_in_trouble: bool, config: &Config) -> Duration {
        if is_in_trouble || !self.is_known {
            TROUBLE_INTERVAL.min(config.discovery_interval)
        } else {
            config.discovery_interval
        }
    }

    pub(super) fn is_asked(&self, id: NodeId) -> bool {
        self.asked.is_some_and(|(conn, _)| conn.node == id)
    }

    pub(super) fn on_node_ready(&mut self) {
        self.seeds.is_needed = false;
    }

    /// When there is something to do next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match (self.asked, self.seeds.is_needed, self.seeds.tried) {
            (Some((_, until)), ..) => Some(until),
            (None, false, _) => Some(self.ask_at),
            (None, true, None) => Some(self.seeds.try_at),
            // It has deadlines of its own.
            (None, true, Some(_)) => None,
        }
    }

    /// Why no command can be sent, and will not be able to within its time.
    pub(super) fn lasting_fault(&self) -> Option<Error> {
        self.seeds.fault.clone().filter(|fault| !self.is_known && is_lasting(fault))
    }

    /// Why a command has found no node in its time.
    pub(super) fn why_unrouted(&self, slot: Slot) -> Error {
        if self.is_known {
            let text = format!("no node of the cluster owns slot {}", slot.index());
            return Error::new(ErrorKind::Unavailable, text);
        }
        let nobody =
            || Error::new(ErrorKind::Unavailable, "no node of the cluster has answered yet");
        self.seeds.fault.clone().unwrap_or_else(nobody)
    }

    pub(super) fn on_known(&mut self) {
        self.is_known = true;
        self.seeds.fault = None;
        self.seeds.backoff.reset();
    }
}

impl Seeds {
    /// The next seed, if it is time for one.
    pub(super) fn next(&mut self, now: Instant) -> Option<Address> {
        self.is_needed = true;
        let is_time = self.tried.is_none() && self.try_at <= now;
        if is_time { self.addresses.get(self.next).cloned() } else { None }
    }

    /// The seed that was next is of no use. Says whether all of them have been tried.
    pub(super) fn pass(&mut self, now: Instant, reason: Option<&Error>, rng: &mut Rng) -> bool {
        self.tried = None;
        self.fault = reason.cloned().or_else(|| self.fault.take());
        self.next += 1;
        let is_round = self.next >= self.addresses.len();
        self.try_at = now;
        if is_round {
            self.next = 0;
            self.try_at += self.backoff.pause(rng);
        }
        is_round
    }
}
