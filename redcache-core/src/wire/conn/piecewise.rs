//! Reads in pieces on one connection.
//!
//! The first exchange of a read has the first piece in place of the `GET`, and requests the next
//! pieces behind it. The read moves to the place of the next piece with each reply. The places of
//! pieces that are no longer wanted stay in the queue, and their replies are ignored.

use std::time::Instant;

use super::awaited::{Awaited, Form, PieceOf};
use super::pipeline::Pipeline;
use super::replies::mispaired;
use crate::api::config::Config;
use crate::api::error::Error;
use crate::protocol::encode;
use crate::protocol::lock::LockSettings;
use crate::protocol::redirect::Redirect;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{Answered, LockReply, ReadReply, Reply, is_about_batching};
use crate::resp::Frame;
use crate::wire::framing::bulk_max;
use crate::wire::inbound::Inbound;
use crate::wire::issued::{Issued, State};
use crate::wire::pieces::{Head, PieceRule, Progress};
use crate::wire::value_memory::Room;

/// The next step of a read after its first exchange.
enum Next {
    Finish,
    /// Request the other pieces.
    Continue,
    /// Read the value at once.
    ReadWhole,
}

impl Pipeline {
    /// Send each command by itself, because sharing large values costs more than it saves, and read
    /// large values in pieces if the server tracks keys.
    pub(super) fn carry_large(&mut self, config: &Config) {
        self.batches = false;
        self.piecewise.rule = Some(PieceRule::new(config, bulk_max(config)));
    }

    /// Send a read in pieces if its value was large. Return it otherwise.
    pub(super) fn send_in_pieces(
        &mut self,
        mut issued: Issued,
        locks: &LockSettings,
    ) -> Option<Issued> {
        let may_begin = !issued.alone && !issued.asking;
        let number = self.piecewise.begun + 1;
        let rule = self.piecewise.rule.filter(|_| may_begin);
        let pieces = issued.pieces.as_mut().zip(rule);
        let first = pieces.and_then(|(pieces, rule)| pieces.begin(rule, number));
        let Some(first) = first else {
            issued.pieces = None;
            return Some(issued);
        };
        self.piecewise.begun = number;
        self.close_batch();
        let before = self.out.len();
        let State { command, pieces, .. } = &mut *issued;
        command.encode_first_piece(locks, first, &mut self.out);
        let ranges = std::iter::from_fn(|| pieces.as_mut()?.next_range());
        let others = ranges.map(|range| encode::piece(&mut self.out, command.key(), range)).count();
        issued.size = self.out.len() - before;
        self.unanswered += issued.size;
        let piece = PieceOf { read: number, key: issued.command.key().clone() };
        self.expect(Awaited::Command { issued, form: Form::FirstPiece, batch: 0 });
        (0..others).for_each(|_| self.expect(Awaited::Piece(Box::new(piece.clone()))));
        None
    }

    /// Return the memory for the next reply, if the reply is a piece.
    pub(super) fn room(&mut self) -> Option<Room<'_>> {
        match self.awaited.front() {
            Some(Awaited::Command { form: Form::FirstPiece | Form::Piece, .. })
                if self.begun.is_empty() =>
            {
                self.front_mut()?.pieces.as_mut()?.room()
            }
            _ => None,
        }
    }

    /// Record a change of the keys of reads in pieces.
    pub(super) fn mark_torn(&mut self, concerns: impl Fn(&Issued) -> bool) {
        if self.piecewise.begun == 0 {
            return;
        }
        for issued in self.unanswered_commands().filter(|issued| concerns(issued)) {
            if let Some(pieces) = &mut issued.pieces {
                pieces.on_invalidated();
            }
        }
    }

    /// Handle a reply of the first exchange of the first awaited command.
    pub(super) fn on_first_piece(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, Error> {
        if self.begun.is_empty() {
            self.begin(0, false);
        }
        let Some(pieces) = self.front_mut().and_then(|issued| issued.pieces.as_mut()) else {
            return Err(mispaired());
        };
        let mut part = frame;
        if pieces.head == Head::Awaited {
            match frame {
                Frame::Bulk(bytes) => pieces.take_head(bytes),
                Frame::Error(text) => {
                    pieces.head = Head::Refused { by_itself: is_about_batching(text) };
                }
                _ => return Err(self.wrong_type()),
            }
            if matches!(pieces.head, Head::Part | Head::Empty) {
                part = &Frame::Null;
            }
        }
        let head = pieces.head;
        let Some(answered) = self.take_part(0, part, locks)? else { return Ok(None) };
        match next(head, &answered) {
            Next::Finish => Ok(self.finish(now, answered, locks)),
            Next::ReadWhole => {
                if head == (Head::Refused { by_itself: true }) {
                    self.piecewise.rule = None;
                }
                Ok(self.finish(now, Answered::Unclear, locks))
            }
            Next::Continue => {
                let Some(Awaited::Command { mut issued, .. }) = self.pop_front() else {
                    return Err(mispaired());
                };
                let (sent_at, size) = (issued.sent_at, issued.size);
                self.on_answered(now, sent_at);
                self.trips.on_answered(now, sent_at, size);
                if let (Some(pieces), Answered::Whole(Reply::Read(beside))) =
                    (&mut issued.pieces, answered)
                {
                    pieces.on_round_trip(sent_at, now);
                    pieces.beside = beside;
                }
                self.continue_in_pieces(issued);
                Ok(None)
            }
        }
    }

    /// Handle a further piece of the first awaited command.
    pub(super) fn on_piece(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, Error> {
        let Some(pieces) = self.front_mut().and_then(|issued| issued.pieces.as_mut()) else {
            return Err(mispaired());
        };
        let progress = match frame {
            Frame::Bulk(bytes) => pieces.take(bytes),
            Frame::Error(text) => {
                let refusal = Refusal::of(text);
                if is_redirect(&refusal) {
                    return Ok(self.finish(now, Answered::Whole(Reply::Refused(refusal)), locks));
                }
                Progress::Torn
            }
            _ => return Err(self.wrong_type()),
        };
        match progress {
            Progress::Complete => {
                let value = pieces.take_value();
                let mut reply = std::mem::take(&mut pieces.beside);
                reply.set_value(&value, &locks.lock_prefix);
                Ok(self.finish(now, Answered::Whole(Reply::Read(reply)), locks))
            }
            Progress::Torn => Ok(self.finish(now, Answered::Unclear, locks)),
            Progress::More => {
                if let Some(Awaited::Command { issued, .. }) = self.pop_front() {
                    self.continue_in_pieces(issued);
                }
                Ok(None)
            }
        }
    }

    /// Handle the reply to a piece that is no longer wanted.
    pub(super) fn on_unwanted_piece(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        self.pop_front();
        if matches!(frame, Frame::Bulk(_) | Frame::Error(_)) { Ok(()) } else { Err(mispaired()) }
    }

    /// Request further pieces, and move the read to the place of the next one.
    fn continue_in_pieces(&mut self, mut issued: Issued) {
        let Some(number) = issued.pieces.as_ref().map(|pieces| pieces.number) else { return };
        self.close_batch();
        let before = self.out.len();
        while let Some(range) = issued.pieces.as_mut().and_then(|pieces| pieces.next_range()) {
            encode::piece(&mut self.out, issued.command.key(), range);
            let key = issued.command.key().clone();
            self.expect(Awaited::Piece(Box::new(PieceOf { read: number, key })));
        }
        issued.size += self.out.len() - before;
        self.unanswered += issued.size;
        self.awaited.put_at_piece(number, issued);
    }

    fn front_mut(&mut self) -> Option<&mut Issued> {
        self.awaited.iter_mut().next()?.command_mut()
    }
}

/// Return whether the slot of the key has left the node.
fn is_redirect(refusal: &Refusal) -> bool {
    matches!(Redirect::of(&refusal.0), Some(Redirect::Moved(_) | Redirect::Ask(_)))
}

/// Return the next step of a read. A lock that was granted proves that the key was missing, even if
/// a piece came before.
fn next(head: Head, answered: &Answered) -> Next {
    match (answered, head) {
        (Answered::Whole(Reply::Read(ReadReply { lock: LockReply::Granted, .. })), _) => {
            Next::Finish
        }
        (Answered::Whole(Reply::Read(read)), Head::Part) if !read.invalidated => Next::Continue,
        (Answered::Whole(Reply::Read(_)), Head::Whole) => Next::Finish,
        // A redirect concerns the whole read.
        (Answered::Whole(Reply::Refused(_)), Head::Refused { by_itself: false } | Head::Whole) => {
            Next::Finish
        }
        (Answered::Whole(Reply::Refused(refusal)), _) if is_redirect(refusal) => Next::Finish,
        (Answered::Whole(_) | Answered::Unclear | Answered::Large(_), _) => Next::ReadWhole,
    }
}
