//! The slot map of a cluster, and the schedule of its queries.

use std::time::{Duration, Instant};

use super::id::{ConnId, NodeId};
use super::node::is_lasting;
use super::seeds::Seeds;
use super::witness::Witness;
use crate::api::config::{Address, Config};
use crate::api::error::{Error, ErrorKind};
use crate::protocol::slot::{Slot, SlotSet};
use crate::protocol::topology::Topology;
use crate::rng::Rng;

/// The time for which a node without slots and without awaited replies is kept.
pub(super) const IDLE_KEPT: Duration = Duration::from_secs(1);
/// The least time between two queries, so that a slot that moves does not cause thousands of them.
const QUESTION_GAP: Duration = Duration::from_millis(50);
/// The time between two queries while some slot cannot be reached.
const TROUBLE_INTERVAL: Duration = Duration::from_millis(500);
/// The number of consecutive queries at the least interval while slots have no owner.
const QUICK_QUESTIONS: u8 = 8;
/// The number of consecutive answers that may be older than the known map. After that, the cluster
/// is assumed to have been created again.
const OLDER_MAX: u8 = 8;

#[derive(Debug)]
pub(super) struct Cluster {
    owners: Box<[Option<NodeId>]>,
    /// Whether any node has reported the slot map.
    pub(super) is_known: bool,
    epoch: Option<u64>,
    older: u8,
    pub(super) witness: Witness,
    pub(super) seeds: Seeds,
    /// The instant of the next query.
    ask_at: Instant,
    asked_at: Option<Instant>,
    /// The connection on which an answer is awaited, and the deadline of the answer.
    asked: Option<(ConnId, Instant)>,
    /// Whether the slot map may have changed since the query was sent.
    again: bool,
    /// The node that probably knows the newest map.
    pub(super) hint: Option<Address>,
    /// The index of the node that was queried last.
    pub(super) turn: usize,
}

impl Cluster {
    pub(super) fn new(now: Instant, seeds: &[Address], config: &Config) -> Self {
        Self {
            owners: vec![None; usize::from(Slot::COUNT)].into(),
            is_known: false,
            epoch: None,
            older: 0,
            witness: Witness::default(),
            seeds: Seeds::new(now, seeds, config),
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

    /// Assign a slot to a node. Return the previous owner.
    pub(super) fn assign(&mut self, slot: Slot, id: Option<NodeId>) -> Option<NodeId> {
        std::mem::replace(&mut self.owners[slot.index()], id)
    }

    /// Return whether the slots that a node's map leaves out lose their owners.
    pub(super) fn accepts_loss(&mut self, from: &Address, topology: &Topology) -> bool {
        // An older map proves nothing.
        if self.is_older(topology.info.epoch) || self.witness.hear(from, topology) {
            return true;
        }
        let is_owned = |slot: &Slot| self.owner(*slot).is_some();
        let is_lost = |slot: &Slot| !topology.slots.contains(*slot);
        mutant!(PartialMapTrusted) || !Slot::all().filter(is_owned).any(|slot| is_lost(&slot))
    }

    fn is_older(&self, epoch: Option<u64>) -> bool {
        epoch.zip(self.epoch).is_some_and(|(epoch, known)| epoch < known)
    }

    /// Return whether an answer of this epoch may replace the known map.
    pub(super) fn accepts(&mut self, epoch: Option<u64>) -> bool {
        if self.is_older(epoch) && !mutant!(OlderMapTrusted) {
            self.older += 1;
            if self.older <= OLDER_MAX {
                return false;
            }
        }
        self.older = 0;
        self.epoch = epoch;
        true
    }

    /// Query the slot map soon, because slots may have moved. The node at `hint` may know the new
    /// owners.
    pub(super) fn request_discovery(&mut self, now: Instant, hint: Option<Address>) {
        self.hint = hint.or_else(|| self.hint.take());
        if self.asked.is_some() {
            self.again = true;
        } else {
            self.ask_at = self.ask_at.min(self.earliest_question(now));
        }
    }

    /// Query the slot map again after a pause, because a node is still unreachable.
    pub(super) fn request_discovery_soon(&mut self, now: Instant) {
        self.ask_at = self.ask_at.min(now + TROUBLE_INTERVAL);
    }

    fn earliest_question(&self, now: Instant) -> Instant {
        self.asked_at.map_or(now, |asked_at| now.max(asked_at + QUESTION_GAP))
    }

    /// Return whether a query is due. An overdue answer is no longer awaited.
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

    /// Schedule the next query after an answer, or after its absence.
    pub(super) fn on_answered(&mut self, now: Instant, interval: Duration, rng: &mut Rng) {
        self.asked = None;
        let spread = interval / 5;
        let regular = now + (interval - spread / 2) + rng.below(spread);
        let again = std::mem::take(&mut self.again);
        self.ask_at = if again { regular.min(self.earliest_question(now)) } else { regular };
    }

    /// Return the time until the next query.
    pub(super) fn interval(&self, is_in_trouble: bool, config: &Config) -> Duration {
        let is_in_doubt = self.witness.is_in_doubt();
        if is_in_doubt
            && self.witness.doubts <= QUICK_QUESTIONS
            && self.owners.iter().any(Option::is_none)
        {
            QUESTION_GAP.min(config.discovery_interval)
        } else if is_in_trouble || is_in_doubt || !self.is_known {
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

    /// Return the earliest deadline.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match (self.asked, self.seeds.is_needed, self.seeds.tried) {
            (Some((_, until)), ..) => Some(until),
            (None, false, _) => Some(self.ask_at),
            (None, true, None) => Some(self.seeds.try_at),
            // The connection to the seed has deadlines of its own.
            (None, true, Some(_)) => None,
        }
    }

    /// Return the reason if the cluster is known to be down, so that commands need not wait for it:
    /// a seed has a lasting fault, or no seed could be queried for `command_timeout`.
    pub(super) fn outage(&self, now: Instant, config: &Config) -> Option<Error> {
        let fault = self.seeds.fault.as_ref().filter(|_| !self.is_known)?;
        let is_down =
            self.seeds.down_since.is_some_and(|since| since + config.command_timeout <= now);
        (is_down || is_lasting(fault)).then(|| fault.clone())
    }

    /// Return the error for a command that found no node within its timeout.
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
        self.seeds.on_known();
        if !self.witness.is_in_doubt() {
            self.seeds.reset_pauses();
        }
    }
}
