//! The steps of calls, reported to an adapter that traces them.

use super::env::Env;
use super::sender::Sender;
use super::state::Engine;
use crate::api::error::ErrorKind;
use crate::event::{CallStep, Event};
use crate::flow::call::{Caller, OpId};
use crate::protocol::command::{Command, Token};

impl Engine {
    /// Set whether calls that begin from now on report their steps, as
    /// [`Event::Step`](crate::engine::Event::Step). A flight reports its steps to its leader.
    pub fn report_steps(&mut self, wanted: bool) {
        self.env.ops.report_steps(wanted);
    }

    /// Report the reply to a command, or its failure, to the call that awaits it.
    pub(super) fn report_reply(
        &mut self,
        token: Token,
        command: &Command,
        error: Option<ErrorKind>,
    ) {
        let op = match Sender::of(token) {
            Sender::Flight(id) => self.fetches.leader(id).map(|caller| caller.op),
            Sender::Call(Caller { op, .. }) => Some(op),
            Sender::Nobody => None,
        };
        if let Some(op) = op {
            let command = command.name();
            self.env.report_step(op, |_| CallStep::Replied { command, error });
        }
    }
}

impl Env {
    /// Report that a call has sent a command.
    pub(super) fn report_sent(&mut self, op: OpId, command: &Command) {
        if self.config.servers.is_none() {
            return;
        }
        self.report_step(op, |env| CallStep::Sent {
            command: command.name(),
            server: env.router.server_of(command.key()).cloned(),
        });
    }

    /// Report that a call waits for another caller.
    pub(super) fn report_waiting(&mut self, op: OpId) {
        self.report_step(op, |_| CallStep::Waiting);
    }

    fn report_step(&mut self, op: OpId, step: impl FnOnce(&Self) -> CallStep) {
        if self.ops.reports_steps(op) {
            let step = step(self);
            self.push(Event::Step { op, step });
        }
    }
}
