//! The state of the locked writes, and the calls that start them.

use std::time::Instant;

use super::call::{Purpose, WriteCall};
use crate::api::key::Key;
use crate::engine::env::{Cx, Env};
use crate::engine::ops::{Machine, OpMap};
use crate::flow::call::{Caller, OpId};
use crate::flow::timers::Timer;
use crate::flow::write_queue::WriteQueue;

/// The machine of the locked writes.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(super) calls: OpMap<Box<WriteCall>>,
    pub(super) queue: WriteQueue,
}

impl Writes {
    /// Start an `insert_with`, an `insert_many_with` or a `change`.
    pub(crate) fn start(
        &mut self,
        env: &mut Env,
        cx: Cx,
        keys: Vec<Key>,
        purpose: Purpose,
    ) -> OpId {
        let give_up_at = cx.now + env.config.load_timeout + env.config.lock_ttl;
        let mut call = WriteCall::new(keys, purpose, give_up_at);
        let op = env.start_op(Machine::Writes);
        for (slot, write) in (0..).zip(&call.keys) {
            let is_head = self.queue.enqueue(&write.key, Caller { op, slot });
            call.keys_ahead += usize::from(!is_head);
        }
        let (is_empty, keys_ahead) = (call.keys.is_empty(), call.keys_ahead);
        self.calls.insert(op, Box::new(call));
        if is_empty {
            self.finish(env, cx, op);
        } else if keys_ahead == 0 {
            self.attempt(env, cx, op);
        } else {
            env.report_waiting(op);
            self.set_timer(env, op, Some(give_up_at));
        }
        op
    }

    /// Return whether a call writes the key or waits for its turn.
    pub(crate) fn is_writing(&self, key: &Key) -> bool {
        self.queue.head(key).is_some()
    }

    pub(super) fn set_timer(&mut self, env: &mut Env, op: OpId, at: Option<Instant>) {
        let Some(call) = self.calls.get_mut(op) else { return };
        let before = std::mem::replace(&mut call.timer, at);
        env.rearm(Timer::Write(op), before, at);
    }
}
