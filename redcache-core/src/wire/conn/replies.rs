//! Pairs each reply with the command that it answers.

use std::time::Instant;

use super::awaited::{Awaited, Form};
use super::native::Verdict;
use super::pipeline::Pipeline;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::protocol::command::Command;
use crate::protocol::lock::LockSettings;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{Answered, Assembly, ReadReply, Reply, WrongType, is_about_batching};
use crate::protocol::topology::{ClusterInfo, Topology};
use crate::resp::{self, Frame};
use crate::wire::framing::{Framed, broken};
use crate::wire::inbound::Inbound;

/// The largest number of keys of one invalidation that are passed to the engine. Redis sends one
/// key at a time.
const INVALIDATED_MAX: usize = 4096;

impl Pipeline {
    /// Record the next frame, and decode it.
    pub(super) fn on_framed<'a>(
        &mut self,
        now: Instant,
        framed: &Framed<'a>,
    ) -> Result<Frame<'a>, Error> {
        self.owner = framed.owner.cloned();
        self.trips.on_message(now, framed.length);
        resp::decode(framed.bytes).map_err(broken)
    }

    /// Handle a push. `echo` is the key of the write whose reply came just before.
    pub(super) fn on_push(&mut self, elements: &[Frame<'_>], echo: Option<Key>) -> Option<Inbound> {
        match elements {
            [Frame::Bulk(b"invalidate"), Frame::Array(keys)] if keys.len() <= INVALIDATED_MAX => {
                let mut names = Vec::with_capacity(keys.len());
                for key in keys {
                    let Frame::Bulk(name) = key else { return Some(self.on_flushed()) };
                    names.push(Key::copy_from(name));
                }
                // Another read of the key may have its value from before the write.
                self.mark_invalidated(|command| names.contains(command.key()));
                if let ([name], Some(written)) = (&names[..], &echo)
                    && name == written
                {
                    return None;
                }
                Some(Inbound::Invalidated(names))
            }
            // Null means every key. An invalidation of too many keys, or an unreadable one, counts
            // as an invalidation of every key.
            [Frame::Bulk(b"invalidate"), ..] => Some(self.on_flushed()),
            _ => None,
        }
    }

    fn on_flushed(&mut self) -> Inbound {
        self.mark_invalidated(|_| true);
        Inbound::Flushed
    }

    /// Handle the next reply.
    pub(super) fn on_reply(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, Error> {
        match self.next_answered() {
            Some(Awaited::Command { issued, .. }) if issued.asking && !self.asking_answered => {
                self.on_asking_reply(frame)?;
                Ok(None)
            }
            Some(Awaited::Command { form: Form::Untracked, .. }) => {
                self.on_untracked(frame)?;
                if matches!(frame, Frame::Error(_)) && mutant!(UntrackingRefusalForReply) {
                    return self.on_reply(now, frame, locks);
                }
                Ok(None)
            }
            Some(Awaited::Command { form: Form::Transaction, batch, .. }) => {
                let count = (*batch).max(1);
                self.on_transaction_reply(now, frame, count, locks)
            }
            Some(Awaited::Command { form: Form::FirstPiece, .. }) => {
                self.on_first_piece(now, frame, locks)
            }
            Some(Awaited::Command { form: Form::Piece, .. }) => self.on_piece(now, frame, locks),
            Some(Awaited::Piece(_)) => self.on_unwanted_piece(frame).map(|()| None),
            Some(Awaited::Command { batch: 0, .. }) => self.on_own_reply(now, frame, locks),
            Some(Awaited::Command { batch, .. }) => {
                let count = *batch;
                self.on_batch_reply(now, frame, count, locks)
            }
            Some(Awaited::Ignored) => {
                let is_status = matches!(frame, Frame::Simple(_) | Frame::Error(_));
                self.pop_front();
                if is_status { Ok(None) } else { Err(mispaired()) }
            }
            Some(Awaited::Ping(number, sent_at)) => {
                let (is_its_own, sent_at) = (answers_ping(frame, *number), *sent_at);
                self.pop_front();
                self.on_answered(now, sent_at);
                self.trips.on_answered(now, sent_at, 0);
                if is_its_own { Ok(Some(Inbound::Pong)) } else { Err(mispaired()) }
            }
            Some(Awaited::ClusterInfo) => {
                self.info = ClusterInfo::read(frame);
                self.pop_front();
                Ok(None)
            }
            Some(Awaited::Topology(question)) => {
                let read = question.read(frame);
                let info = std::mem::take(&mut self.info);
                self.pop_front();
                Ok(Some(Inbound::Topology(read.map(|topology| Topology { info, ..topology }))))
            }
            Some(Awaited::Login) => {
                self.pop_front();
                match frame {
                    Frame::Simple(b"OK") => Ok(Some(Inbound::LoggedIn { is_accepted: true })),
                    Frame::Error(_) => Ok(Some(Inbound::LoggedIn { is_accepted: false })),
                    _ => Err(mispaired()),
                }
            }
            Some(Awaited::Transactions) => {
                self.pop_front();
                match frame {
                    // The empty transaction was executed, so transactions are allowed.
                    Frame::Array(results) if results.is_empty() => self.native.on_transactions(),
                    Frame::Simple(_) | Frame::Error(_) => {}
                    _ => return Err(mispaired()),
                }
                Ok(None)
            }
            None => Err(Error::new(ErrorKind::Protocol, "a reply came that nobody asked for")),
        }
    }

    /// Handle the reply to the `CLIENT CACHING` before a batch. If it is refused, the server tracks
    /// the reads, which does no harm.
    fn on_untracked(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        self.awaited.set_form(self.awaited.len(), Form::Hash);
        match frame {
            Frame::Simple(_) => Ok(()),
            Frame::Error(_) => {
                self.coalescer.opts_out = false;
                Ok(())
            }
            _ => Err(mispaired()),
        }
    }

    /// Handle the reply to an `ASKING`. If it is refused, so is its command: the node would
    /// redirect the command back.
    fn on_asking_reply(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        self.asking_answered = true;
        match frame {
            Frame::Simple(_) => Ok(()),
            Frame::Error(text) => {
                self.asking_refused.get_or_insert_with(|| Refusal::of(text));
                Ok(())
            }
            _ => Err(mispaired()),
        }
    }

    /// Handle a reply to the first awaited command alone.
    fn on_own_reply(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, Error> {
        if self.begun.is_empty() {
            self.begin(0, false);
        }
        self.asking_answered = false;
        let Some(mut answered) = self.take_part(0, frame, locks)? else { return Ok(None) };
        if let Answered::Whole(Reply::Refused(_)) = answered
            && let Some(refusal) = self.asking_refused.take()
        {
            answered = Answered::Whole(Reply::Refused(refusal));
        }
        let inbound = self.finish(now, answered, locks);
        if !matches!(self.begun.front(), Some(Assembly::Held(_))) {
            return Ok(inbound);
        }
        self.ready.extend(inbound);
        self.finish_held(now, locks);
        Ok(self.ready.pop_front())
    }

    /// End the first awaited commands that have their answers.
    fn finish_held(&mut self, now: Instant, locks: &LockSettings) {
        while let Some(Assembly::Held(answered)) = self.begun.front_mut()
            && let Some(answered) = answered.take()
        {
            let inbound = self.finish(now, answered, locks);
            self.ready.extend(inbound);
        }
    }

    /// Handle the common reply of a batch. It is the first of several replies to each read, and the
    /// only reply to each publication.
    fn on_batch_reply(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        count: usize,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, Error> {
        self.awaited.unbatch_front();
        let parts: &[Frame<'_>] = match frame {
            Frame::Array(parts) if parts.len() == count => parts,
            Frame::Error(text) => {
                self.batches &= !is_about_batching(text);
                &[]
            }
            _ => return Err(self.wrong_type()),
        };
        for number in 0..count {
            let part = parts.get(number).unwrap_or(frame);
            let place = self.begun.len();
            self.begin(place, true);
            let Some(answered) = self.take_part(place, part, locks)? else { continue };
            if place == 0 || mutant!(HeldOutOfTurn) {
                let inbound = self.finish(now, answered, locks);
                self.ready.extend(inbound);
            } else if let Some(assembly) = self.begun.get_mut(place) {
                // The commands before this one await more replies.
                *assembly = Assembly::Held(Some(answered));
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Begin the answer of the awaited command at this position.
    pub(super) fn begin(&mut self, place: usize, is_batched: bool) {
        let Some(Awaited::Command { issued, form, .. }) = self.awaited.get(place) else { return };
        self.begun.push_back(match issued.command {
            Command::Read { asks_ttl, .. } => Assembly::read(asks_ttl, false, is_batched),
            Command::ReadOrLock { .. } if *form == Form::SetGet => Assembly::SetGet,
            Command::ReadOrLock { asks_ttl, .. } => Assembly::read(asks_ttl, true, is_batched),
            Command::ReadRaw { .. } => Assembly::Raw { first: None },
            Command::WriteLock { .. } => Assembly::WriteLock,
            Command::Lock { .. }
            | Command::Publish { .. }
            | Command::Replace { .. }
            | Command::Release { .. }
            | Command::Renew { .. }
            | Command::Restore { .. }
            | Command::Insert { .. }
            | Command::Remove { .. }
            | Command::Touch { .. } => Assembly::Effect { is_batched },
        });
    }

    /// Handle one reply to the awaited command at this position. Return the whole answer after the
    /// last reply.
    pub(super) fn take_part(
        &mut self,
        place: usize,
        frame: &Frame<'_>,
        locks: &LockSettings,
    ) -> Result<Option<Answered>, Error> {
        let taken = match self.begun.get_mut(place) {
            Some(assembly) => assembly.take((frame, self.owner.as_ref()), &locks.lock_prefix),
            None => Err(WrongType),
        };
        taken.map_err(|_| self.wrong_type())
    }

    pub(super) fn wrong_type(&self) -> Error {
        let name = self.awaited.iter().find_map(|awaited| match awaited {
            Awaited::Command { issued, .. } => Some(issued.command.name()),
            Awaited::Ignored
            | Awaited::Piece(_)
            | Awaited::Ping(..)
            | Awaited::ClusterInfo
            | Awaited::Topology(_)
            | Awaited::Login
            | Awaited::Transactions => None,
        });
        let text = format!("the reply to `{}` is not of its type", name.unwrap_or_default());
        Error::new(ErrorKind::Protocol, text)
    }

    /// End the first awaited command with its answer, or send it again.
    pub(super) fn finish(
        &mut self,
        now: Instant,
        answered: Answered,
        locks: &LockSettings,
    ) -> Option<Inbound> {
        let Some(Awaited::Command { mut issued, form, .. }) = self.pop_front() else { return None };
        self.on_answered(now, issued.sent_at);
        if form != Form::Piece {
            self.trips.on_answered(now, issued.sent_at, issued.size);
        }
        if let (Form::Source, Some(script)) = (form, issued.command.script()) {
            self.scripts.on_source_answered(script);
        }
        let mut reply = match answered {
            Answered::Whole(reply) => reply,
            Answered::Unclear | Answered::Large(_) => {
                if let Answered::Large(length) = answered {
                    self.coalescer.on_value(length);
                }
                issued.alone = true;
                issued.command.ask_ttl();
                // A script that was refused while it ran may have stored the value.
                issued.interrupted |= matches!(issued.command, Command::Publish { .. });
                self.send(now, issued, locks);
                return None;
            }
        };
        if let Reply::Refused(refusal) = &reply
            && !matches!(form, Form::Hash | Form::Source)
        {
            match self.native.on_refused(&issued.command, refusal) {
                Verdict::Stands => {}
                Verdict::NoMatch => reply = Reply::Effect(false),
                Verdict::UseOther => {
                    issued.by_script = true;
                    self.send(now, issued, locks);
                    return None;
                }
            }
        }
        match &reply {
            Reply::Refused(refusal) if refusal.0.starts_with("NOSCRIPT") && form == Form::Hash => {
                if let Some(script) = issued.command.script() {
                    self.scripts.on_unknown(script);
                }
                self.send(now, issued, locks);
                return None;
            }
            Reply::Read(ReadReply { stored, .. }) => self.coalescer.on_value(stored.len()),
            Reply::Refused(_) | Reply::Effect(_) | Reply::WriteLock(_) | Reply::Raw(_) => {}
        }
        if reply.has_written() && issued.command.is_echoed() {
            self.echo = Some(issued.command.key().clone());
        }
        Some(Inbound::Reply { issued, reply })
    }
}

/// Return whether a frame answers the `PING` with this number. An error is a sign of life, too, and
/// so is the plain `PONG` of a proxy that answers itself.
fn answers_ping(frame: &Frame<'_>, number: u64) -> bool {
    match frame {
        Frame::Bulk(text) => *text == number.to_string().as_bytes(),
        Frame::Simple(text) => *text == b"PONG",
        Frame::Error(_) => true,
        _ => false,
    }
}

/// Return the error for a reply that cannot belong to its request: every later reply would reach
/// the wrong command.
pub(super) fn mispaired() -> Error {
    Error::new(ErrorKind::Protocol, "a reply does not belong to its request")
}
