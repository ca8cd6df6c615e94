//! The replies of a disabled cache, which has no server: nothing is stored, and no other process
//! loads.
//!
//! A read finds nothing. A fetch gets no lock, so it loads, stores nothing, and answers only the
//! callers that joined before its load began. A locked write gets its lock, so that it reports
//! whether there was a value to write.

use std::time::Instant;

use super::env::{Cx, Env};
use super::exchange::Exchange;
use super::sender::Sender;
use super::state::Engine;
use crate::protocol::command::Command;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{LockReply, ReadReply, Reply, WriteLockReply};
use crate::protocol::slot::Slot;
use crate::wire::issued::Issued;

impl Env {
    /// Reply to a command instead of a server. The engine passes the reply on in its `drain`.
    pub(super) fn reply_disabled(&mut self, now: Instant, sender: Sender, command: Command) {
        let reply = reply(sender, &command);
        let issued = Issued::new(now, sender.token(), command, Slot::FIRST);
        self.disabled_replies.push_back(Exchange { issued, reply });
    }
}

impl Engine {
    /// Pass the replies of a disabled cache to the machines. Return `false` if there are none.
    pub(super) fn drain_disabled(&mut self, now: Instant) -> bool {
        let Some(exchange) = self.env.disabled_replies.pop_front() else { return false };
        let cx = Cx::at(now);
        self.on_own_write(cx, &exchange.issued.command, false);
        self.on_reply(cx, exchange);
        true
    }
}

fn reply(sender: Sender, command: &Command) -> Reply {
    let no_lock = || Refusal("the cache is disabled".into());
    match command {
        Command::Read { .. } => Reply::Read(ReadReply::default()),
        Command::ReadOrLock { .. } => {
            Reply::Read(ReadReply { lock: LockReply::Refused(no_lock()), ..ReadReply::default() })
        }
        Command::ReadRaw { .. } => Reply::Raw(None),
        Command::Lock { .. } => Reply::Refused(no_lock()),
        Command::WriteLock { .. } => match sender {
            Sender::Flight(_) => Reply::Refused(no_lock()),
            Sender::Call(_) | Sender::Nobody => Reply::WriteLock(WriteLockReply::Granted(None)),
        },
        Command::Insert { .. }
        | Command::Publish { .. }
        | Command::Release { .. }
        | Command::Renew { .. }
        | Command::Restore { .. } => Reply::Effect(true),
        // There was no value.
        Command::Remove { .. } | Command::Replace { .. } | Command::Touch { .. } => {
            Reply::Effect(false)
        }
    }
}
