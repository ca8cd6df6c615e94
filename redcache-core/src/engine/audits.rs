//! Audits: keys of near hits that are read again, to check that every invalidation arrives.
//!
//! At the position of the reply in the stream, the near cache has applied every earlier
//! invalidation. So an entry that still exists must equal the value of the reply.

use std::time::Duration;

use super::env::{Cx, Env};
use super::exchange::Exchange;
use super::ops::Machine;
use super::sender::Sender;
use crate::api::observer::AuditDifferenceEvent;
use crate::flow::call::{Caller, OpId};
use crate::protocol::command::Command;
use crate::protocol::envelope::Stored;
use crate::protocol::reply::Reply;

/// The largest number of concurrent audits.
const AUDITS_MAX: usize = 16;

impl Env {
    /// Read the keys that the near cache has chosen. Return whether there were any.
    pub(crate) fn start_audits(&mut self, cx: Cx) -> bool {
        let before = self.audits;
        while self.audits < AUDITS_MAX
            && self.is_open()
            && self.router.is_ready()
            && let Some(key) = self.near.take_audit()
        {
            let op = self.start_op(Machine::Audits);
            self.audits += 1;
            self.send(
                cx,
                Sender::Call(Caller { op, slot: 0 }),
                Command::Read { key, asks_ttl: true },
            );
        }
        self.audits > before
    }

    /// Compare the reply to an audit with the entry of its key, which it has not replaced yet.
    pub(crate) fn compare_audit(&mut self, cx: Cx, exchange: &Exchange) {
        let (key, Reply::Read(read)) = (exchange.issued.command.key(), &exchange.reply) else {
            return;
        };
        let Some(hit) = self.near.peek(key.as_bytes(), cx.now) else { return };
        if read.invalidated || !cx.tracked {
            return;
        }
        self.stats.audits += 1;
        let is_equal = match &read.stored {
            Stored::Value(value) => self.unmark(value.payload.clone()).as_ref() == hit.value(),
            // The key may have expired by the clock of the server.
            Stored::Missing => hit.ttl <= (hit.ttl + hit.age) / 20 + Duration::from_millis(10),
            Stored::Lock(_) => false,
        };
        if !is_equal {
            self.stats.audit_differences += 1;
            self.stats.audit_age_max = self.stats.audit_age_max.max(hit.age);
            self.observe(|| AuditDifferenceEvent::new(key.clone(), hit.age));
        }
    }

    /// End an audit, with or without a reply.
    pub(crate) fn end_audit(&mut self, op: OpId) {
        self.audits -= 1;
        self.end_op(op);
    }
}
