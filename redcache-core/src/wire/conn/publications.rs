//! Pairs the replies to a transaction with its publications.
//!
//! A transaction of n publications has n + 3 replies: to `MULTI`, to each `SET`, to `EXISTS`, and
//! to `EXEC`. The last reply contains the results, unless nothing was executed.

use std::time::Instant;

use super::awaited::Awaited;
use super::pipeline::Pipeline;
use super::replies::mispaired;
use super::transaction::Transaction;
use crate::api::error::Error;
use crate::protocol::lock::LockSettings;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{Answered, Reply, is_about_batching};
use crate::resp::Frame;
use crate::wire::inbound::Inbound;

impl Pipeline {
    /// Handle a reply to the transaction of the first `count` awaited commands.
    pub(super) fn on_transaction_reply(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        count: usize,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, Error> {
        if self.transaction.replies < count + 2 {
            self.transaction.on_queued(frame).map_err(|_| mispaired())?;
            return Ok(None);
        }
        let Transaction { refusal, has_leaked, replies: _ } = std::mem::take(&mut self.transaction);
        self.awaited.unbatch_front();
        match (frame, refusal) {
            (Frame::Array(results), None) if results.len() == count + 1 => {
                for result in &results[..count] {
                    self.begin(0, false);
                    if let Some(answered) = self.take_part(0, result, locks)? {
                        let inbound = self.finish(now, answered, locks);
                        self.ready.extend(inbound);
                    }
                }
            }
            (Frame::Error(text), refusal) => {
                let refusal = refusal.unwrap_or_else(|| Refusal::of(reason(text)));
                self.on_discarded((now, locks), &refusal, has_leaked, count);
            }
            _ => return Err(self.wrong_type()),
        }
        Ok(self.ready.pop_front())
    }

    /// Answer the publications or send them again, because the transaction was not executed.
    fn on_discarded(
        &mut self,
        (now, locks): (Instant, &LockSettings),
        refusal: &Refusal,
        has_leaked: bool,
        count: usize,
    ) {
        let is_lasting = self.native.on_transaction_refused(refusal);
        let is_unclear = count > 1 && is_about_batching(refusal.0.as_bytes());
        for _ in 0..count {
            if !(has_leaked || is_lasting || is_unclear) {
                let refused = Answered::Whole(Reply::Refused(refusal.clone()));
                let inbound = self.finish(now, refused, locks);
                self.ready.extend(inbound);
            } else if let Some(Awaited::Command { mut issued, .. }) = self.pop_front() {
                issued.by_script |= has_leaked || is_lasting;
                issued.alone |= is_unclear;
                issued.interrupted |= has_leaked;
                self.send(now, issued, locks);
            }
        }
    }
}

/// Return the reason why `EXEC` was refused.
fn reason(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"EXECABORT Transaction discarded because of: ").unwrap_or(text)
}
