//! Locks that Redis granted and no call needs, or that cannot be released by a script.

use super::env::{Cx, Env};
use super::exchange::Exchange;
use super::script_support::forbids_scripts;
use super::sender::Sender;
use crate::api::key::Key;
use crate::api::observer::NotStoredEvent;
use crate::flow::held::Held;
use crate::protocol::command::Command;
use crate::protocol::reply::{LockReply, Reply, WriteLockReply};
use crate::wire::issued;

impl Env {
    /// Give up the lock of an attempt that was sent twice.
    ///
    /// The server may still execute the copy that was sent on the lost connection. That would set
    /// the lock again after a deletion that voided it.
    pub(crate) fn distrust_interrupted(&mut self, cx: Cx, exchange: &mut Exchange) {
        let Exchange { issued, reply } = exchange;
        if !issued.interrupted || mutant!(RepeatedLockTrusted) {
            return;
        }
        let lock = match (&issued.command, reply) {
            (Command::ReadOrLock { lock, .. }, Reply::Read(read))
                if read.lock == LockReply::Granted =>
            {
                read.lock = LockReply::NotTried;
                *lock
            }
            (Command::Lock { lock, .. }, Reply::Effect(granted @ true)) => {
                *granted = false;
                *lock
            }
            _ => return,
        };
        let key = issued.command.key().clone();
        self.send(cx, Sender::Nobody, Command::Release { key, lock });
    }

    /// Release the lock of a `Release` that was refused because it is a script.
    pub(crate) fn give_back_without_script(&mut self, cx: Cx, exchange: &Exchange) {
        let Exchange { issued, reply } = exchange;
        if let (Command::Release { key, .. }, Reply::Refused(why)) = (&issued.command, reply)
            && forbids_scripts(&issued.command, why)
        {
            self.give_back(cx, key);
        }
    }

    /// Give back the locks of these keys, because the server hangs up at scripts.
    pub(crate) fn on_hang_ups(&mut self, cx: Cx, mut keys: Vec<Key>) {
        keys.iter().for_each(|key| self.give_back(cx, key));
        let Some(key) = keys.pop() else { return };
        if self.scripts.on_hang_ups() {
            let reason = "the server hangs up at every script, so loaded values are not stored and \
                          no locks are taken: is there a proxy that does not allow `EVAL`?";
            self.observe(|| NotStoredEvent::new(key, reason.to_owned()));
        }
    }

    /// Release a lock without a script: read the key, and remove it if it still holds a lock of
    /// this process. A value that is written in between is removed too, which costs a load.
    pub(crate) fn give_back(&mut self, cx: Cx, key: &Key) {
        self.send(cx, Sender::Nobody, Command::ReadRaw { key: key.clone() });
    }

    /// Undo a lock whose sender has ended.
    pub(crate) fn return_unwanted(&mut self, cx: Cx, exchange: Exchange) {
        let Exchange { issued, reply } = exchange;
        let issued::State { command, sent_at, .. } = issued.into_state();
        let key = command.key().clone();
        if let Command::WriteLock { lock, .. } = &command {
            self.locks.forget_restore(*lock);
        }
        let undo = match (command, reply) {
            _ if mutant!(UnwantedLockKept) => return,
            (Command::ReadOrLock { lock, .. }, Reply::Read(read))
                if read.lock == LockReply::Granted =>
            {
                Command::Release { key, lock }
            }
            (Command::Lock { lock, .. }, Reply::Effect(true)) => Command::Release { key, lock },
            (
                Command::WriteLock { lock, .. },
                Reply::WriteLock(WriteLockReply::Granted(replaced)),
            ) => Held { lock, replaced, since: sent_at }.undo(key, cx.now),
            (Command::ReadRaw { .. }, Reply::Raw(Some(found)))
                if self.locks.recognise(&found.raw).is_some() && !self.allows_locks(cx.now) =>
            {
                Command::Remove { key }
            }
            // A server without memory for the old value can still delete the lock.
            (Command::Restore { lock, .. }, Reply::Refused(_)) => Command::Release { key, lock },
            _ => return,
        };
        self.send(cx, Sender::Nobody, undo);
    }
}
