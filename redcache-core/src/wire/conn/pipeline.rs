//! The commands of one connection from their bytes to their replies.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::awaited::{Awaited, AwaitedQueue, Form, Overdue};
use super::coalesce::Coalescer;
use super::greeting::Greeting;
use super::native::NativeSupport;
use super::scripts::SentScripts;
use super::transaction::Transaction;
use super::trips::Trips;
use crate::api::credentials::Credentials;
use crate::api::key::Key;
use crate::protocol::authentication::auth;
use crate::protocol::command::{Batchable, Command};
use crate::protocol::encode;
use crate::protocol::lock::LockSettings;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Assembly;
use crate::protocol::topology::{ClusterInfo, Question};
use crate::resp::{self, Frame};
use crate::wire::framing::FrameMax;
use crate::wire::inbound::Inbound;
use crate::wire::issued::Issued;
use crate::wire::pieces::Piecewise;

/// The longest value in a reply that several reads share.
const SHARED_VALUE_MAX: usize = 256 << 10;

/// The longest reply with the slot map of a cluster, whose owners may alternate from slot to slot.
const TOPOLOGY_MAX: usize = 32 << 20;

/// The outbound bytes of a connection and the replies that it waits for.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) out: Vec<u8>,
    /// The last awaited commands, which are not in `out` yet.
    pub(super) coalescer: Coalescer,
    /// Whether commands may be batched. The keys of a batch must be on one node.
    pub(super) batches: bool,
    /// Whether a script may have keys of several commands. A proxy in front of several servers runs
    /// a script on the server of its first key, and splits an `MGET`.
    pub(super) shares_scripts: bool,
    pub(super) awaited: AwaitedQueue,
    /// The size of all awaited commands in bytes. Each byte may be in a buffer of the adapter.
    pub(super) unanswered: usize,
    /// The number of the last awaited requests that the adapter has not taken. They have no reply
    /// yet.
    untaken: usize,
    pings: u64,
    /// The instant at which the latest answered request entered the pipeline. The server executed
    /// the request later, so it has sent every invalidation of a change before that instant ahead
    /// of the reply.
    pub(super) fresh_as_of: Option<Instant>,
    pub(super) trips: Trips,
    /// The partial answers of the first awaited commands.
    pub(super) begun: VecDeque<Assembly>,
    /// The further answers of a reply that answers several commands.
    pub(super) ready: VecDeque<Inbound>,
    /// The first awaited command has an `ASKING` before each frame, and the reply to the last
    /// `ASKING` has arrived.
    pub(super) asking_answered: bool,
    /// The server refused an `ASKING` of the first awaited command.
    pub(super) asking_refused: Option<Refusal>,
    /// The `CLUSTER INFO` that belongs to the next topology reply.
    pub(super) info: ClusterInfo,
    /// The key that was just written. If the server tracked it for this connection, the next
    /// message is the invalidation by that write.
    pub(super) echo: Option<Key>,
    pub(super) scripts: SentScripts,
    pub(super) native: NativeSupport,
    pub(super) piecewise: Piecewise,
    /// The memory of the reply that is being handled, if it consists of one large value.
    pub(super) owner: Option<Bytes>,
    /// The first awaited transaction.
    pub(super) transaction: Transaction,
}

impl Pipeline {
    pub(super) fn new(batches: bool) -> Self {
        Self {
            out: Vec::new(),
            coalescer: Coalescer::default(),
            batches,
            shares_scripts: false,
            awaited: AwaitedQueue::default(),
            unanswered: 0,
            untaken: 0,
            pings: 0,
            fresh_as_of: None,
            trips: Trips::default(),
            begun: VecDeque::new(),
            ready: VecDeque::new(),
            asking_answered: false,
            asking_refused: None,
            info: ClusterInfo::default(),
            echo: None,
            scripts: SentScripts::default(),
            native: NativeSupport::default(),
            piecewise: Piecewise::default(),
            owner: None,
            transaction: Transaction::default(),
        }
    }

    pub(super) fn unwritten(&self) -> usize {
        self.out.len() + self.coalescer.len()
    }

    /// Swap the bytes to write with an empty buffer. Return `false` if there are none.
    pub(super) fn take_transmit(&mut self, into: &mut Vec<u8>) -> bool {
        into.clear();
        self.untaken = 0;
        self.close_batch();
        std::mem::swap(&mut self.out, into);
        !into.is_empty()
    }

    /// Append a command.
    pub(super) fn send(&mut self, now: Instant, mut issued: Issued, locks: &LockSettings) {
        if issued.sent_at < now {
            let waited = now - issued.sent_at;
            issued.command.on_waited(waited);
            issued.sent_at = now;
        }
        issued.attempts = issued.attempts.saturating_add(1);
        let Some(mut issued) = self.send_in_pieces(issued, locks) else { return };
        let native = self.native.form(&issued);
        let form = native.unwrap_or_else(|| self.scripts.form(issued.command.script()));
        let before = self.unwritten();
        let mut batch = 1;
        let is_native = matches!(form, Form::Native(_) | Form::SetGet);
        let may_share = |it: &Batchable| match it {
            Batchable::Reads => true,
            Batchable::Publications => self.shares_scripts,
        };
        let batchable = issued.command.batchable().filter(|it| !is_native && may_share(it));
        if let Some(batchable) =
            batchable.filter(|_| self.batches && !issued.asking && !issued.alone)
        {
            if !self.coalescer.admits((batchable, form)) {
                self.close_batch();
            }
            let command = &issued.command;
            batch = self.coalescer.add((batchable, form), command, locks);
        } else {
            self.close_batch();
            append(&issued, form, locks, &mut self.out);
        }
        issued.size = self.unwritten().saturating_sub(before);
        self.unanswered += issued.size;
        self.expect(Awaited::Command { issued, form, batch: 0 });
        if batch > 1 {
            self.awaited.batch_last(batch);
        }
    }

    /// Encode the batch at the end of the pipeline.
    pub(super) fn close_batch(&mut self) {
        if let Some(count) = self.coalescer.close(&mut self.out) {
            self.awaited.set_form(count, Form::Untracked);
        }
    }

    /// Query the topology from the node.
    pub(super) fn ask_topology(&mut self, question: Question) {
        self.close_batch();
        ClusterInfo::ask(&mut self.out);
        question.ask(&mut self.out);
        self.expect(Awaited::ClusterInfo);
        self.expect(Awaited::Topology(question));
    }

    pub(super) fn ping(&mut self, now: Instant) {
        self.close_batch();
        self.pings += 1;
        resp::command(&mut self.out, &[b"PING", self.pings.to_string().as_bytes()]);
        self.expect(Awaited::Ping(self.pings, now));
    }

    /// Log in again, with new credentials.
    pub(super) fn log_in(&mut self, credentials: &Credentials) {
        self.close_batch();
        auth(credentials.username(), credentials.reveal_password(), &mut self.out);
        self.expect(Awaited::Login);
    }

    /// Handle the reply to `HELLO`. A proxy in front of several servers refuses it.
    pub(super) fn on_greeting(&mut self, frame: &Frame<'_>) {
        let greeting = Greeting::of(frame);
        self.shares_scripts = greeting.is_some();
        self.native.on_greeting(greeting);
    }

    /// Handle the end of the handshake. The next `ignored` replies still belong to it.
    pub(super) fn on_ready(&mut self, ignored: usize, (is_tracked, keeps_copies): (bool, bool)) {
        self.ignore(ignored);
        self.coalescer.opts_out = is_tracked && self.native.is_known();
        self.piecewise.rule = self.piecewise.rule.filter(|_| is_tracked);
        if self.native.on_ready(keeps_copies) {
            self.close_batch();
            encode::native::probe_transactions(&mut self.out);
            self.expect(Awaited::Transactions);
            self.expect(Awaited::Transactions);
        }
    }

    /// Expect `count` replies that are ignored.
    fn ignore(&mut self, count: usize) {
        (0..count).for_each(|_| self.expect(Awaited::Ignored));
    }

    pub(super) fn expect(&mut self, awaited: Awaited) {
        self.untaken += 1;
        self.awaited.push(awaited);
    }

    /// Return the request that the next reply answers.
    pub(super) fn next_answered(&self) -> Option<&Awaited> {
        self.awaited.front().filter(|_| self.awaited.len() > self.untaken)
    }

    pub(super) fn pop_front(&mut self) -> Option<Awaited> {
        self.begun.pop_front();
        self.asking_answered = false;
        self.asking_refused = None;
        let awaited = self.awaited.pop_front();
        if let Some(Awaited::Command { issued, .. }) = &awaited {
            self.unanswered -= issued.size;
        }
        awaited
    }

    /// Return whether a command of the key has no reply, or one that is not handled yet.
    pub(super) fn awaits(&self, key: &Key) -> bool {
        let is_of_key = |issued: &Issued| issued.command.key() == key;
        let is_awaited = |awaited: &Awaited| match awaited {
            Awaited::Command { issued, .. } => is_of_key(issued),
            Awaited::Piece(piece) => piece.key == *key,
            Awaited::Ignored
            | Awaited::Ping(..)
            | Awaited::ClusterInfo
            | Awaited::Topology(_)
            | Awaited::Login
            | Awaited::Transactions => false,
        };
        let is_ready = |inbound: &Inbound| match inbound {
            Inbound::Reply { issued, .. } => is_of_key(issued),
            Inbound::Ready { .. }
            | Inbound::LoginRefused
            | Inbound::LoggedIn { .. }
            | Inbound::Pong
            | Inbound::Invalidated(_)
            | Inbound::Flushed
            | Inbound::Topology(_) => false,
        };
        self.awaited.iter().any(is_awaited) || self.ready.iter().any(is_ready)
    }

    /// Return the commands without an answer, oldest first.
    pub(super) fn unanswered_commands(&mut self) -> impl Iterator<Item = &mut Issued> {
        self.awaited.iter_mut().filter_map(Awaited::command_mut)
    }

    /// Record that a request is answered that entered the pipeline at `sent_at`.
    pub(super) fn on_answered(&mut self, now: Instant, sent_at: Instant) {
        let sent_at = if mutant!(BoundFromArrival) { now } else { sent_at };
        self.fresh_as_of = self.fresh_as_of.max(Some(sent_at));
    }

    /// Return the size of the unanswered commands in bytes.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    pub(super) fn next_overdue(&mut self, limit: Instant) -> Option<Overdue> {
        let overdue = self.awaited.next_overdue(limit);
        if overdue.is_some() && mutant!(ReplySlotDroppedOnTimeout) {
            self.pop_front();
        }
        overdue
    }

    /// Mark the partial answers of the commands that a push concerns.
    pub(super) fn mark_invalidated(&mut self, concerns: impl Fn(&Command) -> bool) {
        self.mark_torn(|issued| concerns(&issued.command));
        for (assembly, awaited) in self.begun.iter_mut().zip(self.awaited.iter()) {
            if let Awaited::Command { issued, .. } = awaited
                && concerns(&issued.command)
            {
                assembly.on_invalidated();
            }
        }
    }

    /// Return the limits of the next frame. A large value in a shared reply is skipped and read
    /// again alone, so that no reply holds many of them.
    pub(super) fn frame_max(&self, payload: usize) -> FrameMax {
        match self.awaited.front() {
            Some(Awaited::Command { batch: count @ 1.., .. }) => {
                let payload = payload.min(SHARED_VALUE_MAX);
                FrameMax { payload, unfinished: payload.saturating_mul(*count) }
            }
            Some(Awaited::Topology(_)) => {
                FrameMax { payload, unfinished: payload.max(TOPOLOGY_MAX) }
            }
            _ => FrameMax { payload, unfinished: payload },
        }
    }

    /// Remove the command whose reply was being read when the stream broke. The commands of a batch
    /// are kept and sent alone the next time, so that the fault affects only the command that
    /// causes it.
    pub(super) fn take_front(&mut self) -> Option<Issued> {
        if let Some(Awaited::Command { batch: count @ 1.., .. }) = self.awaited.front() {
            let count = *count;
            self.awaited.unbatch_front();
            for awaited in self.awaited.iter_mut().take(count) {
                if let Awaited::Command { issued, .. } = awaited {
                    issued.alone = true;
                    issued.attempts = issued.attempts.saturating_sub(1);
                }
            }
            return None;
        }
        match self.pop_front()? {
            Awaited::Command { issued, .. } => Some(issued),
            Awaited::Ignored
            | Awaited::Piece(_)
            | Awaited::Ping(..)
            | Awaited::ClusterInfo
            | Awaited::Topology(_)
            | Awaited::Login
            | Awaited::Transactions => None,
        }
    }

    /// End the pipeline. Return the unanswered commands, oldest first.
    pub(super) fn end(self) -> impl Iterator<Item = Issued> {
        let ready = self.ready.into_iter().filter_map(|inbound| match inbound {
            Inbound::Reply { issued, .. } => Some(issued),
            Inbound::Ready { .. }
            | Inbound::LoginRefused
            | Inbound::LoggedIn { .. }
            | Inbound::Pong
            | Inbound::Invalidated(_)
            | Inbound::Flushed
            | Inbound::Topology(_) => None,
        });
        ready.chain(self.awaited.into_iter().filter_map(|awaited| match awaited {
            Awaited::Command { mut issued, .. } => {
                issued.pieces = None;
                Some(issued)
            }
            Awaited::Ignored
            | Awaited::Piece(_)
            | Awaited::Ping(..)
            | Awaited::ClusterInfo
            | Awaited::Topology(_)
            | Awaited::Login
            | Awaited::Transactions => None,
        }))
    }
}

/// Append a command that is not batched with its neighbours.
fn append(issued: &Issued, form: Form, locks: &LockSettings, out: &mut Vec<u8>) {
    let command = &issued.command;
    match form {
        Form::Hash | Form::Source if issued.asking => {
            command.encode_asking(locks, form == Form::Hash, out);
        }
        Form::Hash | Form::Source | Form::Untracked => {
            command.encode(locks, form != Form::Source, out);
        }
        Form::Native(delete) => {
            if issued.asking {
                encode::asking(out);
            }
            command.encode_native(locks, delete, out);
        }
        Form::Transaction => command.encode_transaction(locks, out),
        Form::SetGet => command.encode_set_get(locks, out),
        // A read in pieces is appended elsewhere.
        Form::FirstPiece | Form::Piece => {}
    }
}
