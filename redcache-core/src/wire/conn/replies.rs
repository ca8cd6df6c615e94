//! Replies, and which of the commands on their way each belongs to.

use std::time::Instant;

use super::{Awaited, Conn, Form, Inbound, Issued};
use crate::api::error::{CacheError, ErrorKind};
use crate::protocol::command::Command;
use crate::protocol::lock::LockSettings;
use crate::protocol::reply::{Answered, Assembly, ReadReply, Reply, WrongType, is_about_sharing};
use crate::protocol::topology::{self, Topology};
use crate::resp::Frame;

impl Conn {
    pub(super) fn on_reply(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, CacheError> {
        // What is not spelled out yet is not answered.
        let next =
            if self.awaited.len() > self.coalescer.places() { self.awaited.front() } else { None };
        match next {
            Some(Awaited::Command(issued, _)) if issued.asking && !self.asking_answered => {
                self.asking_answered = true;
                Ok(None)
            }
            Some(Awaited::Command(..)) => self.on_own_reply(now, frame, locks),
            Some(Awaited::Shared(count)) => {
                let count = *count;
                self.on_shared_reply(now, frame, count, locks)
            }
            Some(Awaited::Ignored) => {
                self.pop_front();
                Ok(None)
            }
            Some(Awaited::Epoch) => {
                self.epoch = topology::read_epoch(frame);
                self.pop_front();
                Ok(None)
            }
            Some(Awaited::Topology(question)) => {
                let read = question.read(frame);
                let epoch = self.epoch.take();
                self.pop_front();
                Ok(Some(Inbound::Topology(read.map(|topology| Topology { epoch, ..topology }))))
            }
            None => Err(CacheError::new(ErrorKind::Protocol, "a reply came that nobody asked for")),
        }
    }

    /// A reply to the first awaited command alone.
    fn on_own_reply(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, CacheError> {
        if self.begun.is_empty() {
            self.begin(0, false);
        }
        self.asking_answered = false;
        let Some(reply) = self.take_part(0, frame, locks)? else { return Ok(None) };
        Ok(self.finish(now, reply, locks))
    }

    /// A reply that is the next to each of the first awaited commands. All are reads, for which it is the first of
    /// several replies, or none is, and it is their only one.
    fn on_shared_reply(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        count: usize,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, CacheError> {
        self.pop_front();
        self.groups = self.groups.saturating_sub(1);
        let parts: &[Frame<'_>] = match frame {
            Frame::Array(parts) if parts.len() == count => parts,
            Frame::Error(text) => {
                self.shares &= !is_about_sharing(text);
                &[]
            }
            _ => return Err(self.wrong_type()),
        };
        for number in 0..count {
            let part = parts.get(number).unwrap_or(frame);
            let place = self.begun.len();
            self.begin(place, true);
            if let Some(reply) = self.take_part(place, part, locks)? {
                let inbound = self.finish(now, reply, locks);
                self.heard.extend(inbound);
            }
        }
        Ok(self.heard.pop_front())
    }

    /// The answer of the awaited command in this place begins.
    fn begin(&mut self, place: usize, is_shared: bool) {
        let Some(Awaited::Command(issued, _)) = self.awaited.get(place) else { return };
        self.begun.push_back(match issued.command {
            Command::Read { .. } => Assembly::read(false, is_shared),
            Command::ReadOrLock { .. } => Assembly::read(true, is_shared),
            Command::ReadRaw { .. } => Assembly::Raw { first: None },
            Command::WriteLock { .. } => Assembly::WriteLock,
            _ => Assembly::Effect { is_shared },
        });
    }

    /// Takes one reply to the awaited command in this place; gives its whole answer with the last.
    fn take_part(
        &mut self,
        place: usize,
        frame: &Frame<'_>,
        locks: &LockSettings,
    ) -> Result<Option<Answered>, CacheError> {
        let taken = match self.begun.get_mut(place) {
            Some(assembly) => assembly.take(frame, &locks.lock_prefix),
            None => Err(WrongType),
        };
        taken.map_err(|_| self.wrong_type())
    }

    fn wrong_type(&self) -> CacheError {
        let name = self.awaited.iter().find_map(|awaited| match awaited {
            Awaited::Command(issued, _) => Some(issued.command.name()),
            _ => None,
        });
        let text = format!("the reply to `{}` is not of its type", name.unwrap_or_default());
        CacheError::new(ErrorKind::Protocol, text)
    }

    /// The first awaited command has its answer, unless it is to be sent again.
    fn finish(
        &mut self,
        now: Instant,
        answered: Answered,
        locks: &LockSettings,
    ) -> Option<Inbound> {
        let Some(Awaited::Command(mut issued, form)) = self.pop_front() else { return None };
        if let (Form::Source, Some(script)) = (form, issued.command.script()) {
            self.sources_awaited[script as usize] -= 1;
        }
        let reply = match answered {
            Answered::Whole(reply) => reply,
            Answered::Unclear => {
                issued.alone = true;
                self.send(now, issued, locks);
                return None;
            }
        };
        match &reply {
            Reply::Refused(refusal) if refusal.0.starts_with("NOSCRIPT") && form == Form::Hash => {
                self.resend_script(now, issued, locks);
                return None;
            }
            Reply::Read(ReadReply { stored, .. }) => self.coalescer.on_value(stored.len()),
            _ => {}
        }
        if reply.has_written() && issued.command.is_echoed() {
            self.echo = Some(issued.command.key().clone());
        }
        Some(Inbound::Reply { issued, reply })
    }

    /// The server has forgotten a script. The first command to hear of it brings the source along; those behind it
    /// find it known again.
    fn resend_script(&mut self, now: Instant, issued: Issued, locks: &LockSettings) {
        if let Some(script) = issued.command.script()
            && self.sources_awaited[script as usize] == 0
        {
            self.scripts_sent &= !script.bit();
        }
        self.send(now, issued, locks);
    }
}
