//! Commands that a node refused: each is sent to another node, or later to the same node.
//!
//! A refused command was not executed, so any command may be sent again. A command of several
//! frames is sent again whole.

use std::time::{Duration, Instant};

use super::cluster::IDLE_KEPT;
use super::context::Context;
use super::effects::RouterEvent;
use super::id::NodeId;
use super::routing::Router;
use crate::api::config::Address;
use crate::api::error::{Error, ErrorKind};
use crate::protocol::command::Command;
use crate::protocol::redirect::Redirect;
use crate::protocol::refusal::Refusal;
use crate::protocol::slot::SlotSet;
use crate::wire::issued::Issued;

/// The number of times that a command is redirected before its failure is final.
const REDIRECTS_MAX: u8 = 8;
/// The number of redirects from which there is a pause before the next try: two nodes that redirect
/// to each other need time.
const PAUSED_FROM: u8 = 3;
/// The number of times that the pause doubles.
const PAUSE_DOUBLINGS: u8 = 5;
/// The first pause after a temporary refusal.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(20);

impl Router {
    /// Send a refused command again. Return it if the refusal is its answer.
    pub(super) fn redirect(
        &mut self,
        ctx: Context<'_>,
        from: NodeId,
        mut issued: Issued,
        refusal: &Refusal,
    ) -> Option<Issued> {
        let redirect = match &self.cluster {
            Some(_) => Redirect::of(&refusal.0),
            None => Redirect::of_standalone(&refusal.0),
        };
        let Some(redirect) = redirect.filter(|_| issued.token.is_some()) else {
            return Some(issued);
        };
        // A refused attempt does not count towards the limit for lost connections.
        issued.attempts = issued.attempts.saturating_sub(1);
        issued.last_refusal = Some(refusal.clone());
        if let Redirect::Later { outdated } = redirect {
            if outdated {
                self.request_discovery(ctx, None);
            }
            return self.pause(ctx, issued);
        }
        if issued.redirects >= REDIRECTS_MAX && !mutant!(RedirectsUnbounded) {
            self.give_up(issued, refusal);
            return None;
        }
        issued.redirects = issued.redirects.saturating_add(1);
        let asked = self.nodes.get(from)?.address.clone();
        match redirect {
            // A node that announces no host has another address, which is in the slot map.
            Redirect::Ask(endpoint) | Redirect::Moved(endpoint)
                if endpoint.host.is_none()
                    && endpoint.address(&asked) == asked
                    && issued.redirects < PAUSED_FROM =>
            {
                self.request_discovery(ctx, None);
                self.pause(ctx, issued)
            }
            Redirect::WrongServer { replica: true } if self.reads_replica(ctx.now, from) => {
                self.on_refused_by_replica(ctx, issued)
            }
            Redirect::WrongServer { replica } => {
                self.question(ctx, from, (issued, refusal), replica);
                None
            }
            Redirect::Ask(endpoint) if !mutant!(AskChangesMap) => {
                self.on_ask(ctx, endpoint.address(&asked), issued)
            }
            Redirect::Moved(endpoint) | Redirect::Ask(endpoint) => {
                self.on_moved(ctx, from, issued, (endpoint.address(&asked), asked))
            }
            Redirect::Unparsable | Redirect::Later { .. } => {
                self.request_discovery(ctx, None);
                self.pause(ctx, issued)
            }
        }
    }

    /// Return whether the refusals of a replica are answers.
    fn reads_replica(&self, now: Instant, id: NodeId) -> bool {
        self.nodes.get(id).is_some_and(|node| node.replica.is_read(now))
    }

    /// Handle a command that a replica has refused. A read does without the lock. Return any other
    /// command: the refusal is its answer.
    fn on_refused_by_replica(&mut self, ctx: Context<'_>, mut issued: Issued) -> Option<Issued> {
        let Command::ReadOrLock { key, asks_ttl, .. } = &issued.command else {
            return Some(issued);
        };
        issued.command = Command::Read { key: key.clone(), asks_ttl: *asks_ttl };
        self.route(ctx, issued);
        None
    }

    /// Leave a server that is not ready or not the right one. Its command waits for the next
    /// connection.
    fn question(
        &mut self,
        ctx: Context<'_>,
        from: NodeId,
        (mut issued, refusal): (Issued, &Refusal),
        replica: bool,
    ) {
        issued.asking = false;
        if let Some(node) = self.nodes.get_mut(from) {
            let text = format!("{}: {}", node.address, refusal.0);
            node.question(Error::new(ErrorKind::Unavailable, text));
            if replica {
                node.replica.on_refused(ctx.now);
            }
        }
        self.route(ctx, issued);
    }

    /// Assign the slot to its new owner, then send the command there.
    fn on_moved(
        &mut self,
        ctx: Context<'_>,
        from: NodeId,
        mut issued: Issued,
        (to, asked): (Address, Address),
    ) -> Option<Issued> {
        issued.asking = false;
        if to == asked {
            let text = format!("{asked}: the node redirects to itself");
            let refused = self.pause(ctx, issued);
            self.hang_up_on(ctx, from, &Error::new(ErrorKind::Unavailable, text));
            return refused;
        }
        self.request_discovery(ctx, Some(to.clone()));
        // Only a redirect of the owner in our slot map changes the map. The map of another node may
        // be older than ours.
        if self.owner(issued.slot).is_none_or(|owner| owner == from) {
            let Some(id) = self.node_at(ctx, to) else { return self.pause(ctx, issued) };
            self.assign(ctx, issued.slot, Some(id));
            let slots: SlotSet = [issued.slot].into_iter().collect();
            self.push_event(RouterEvent::Moved { slots });
            self.announce_owners();
        }
        if issued.redirects >= PAUSED_FROM {
            return self.pause(ctx, issued);
        }
        self.route(ctx, issued);
        None
    }

    /// Send the command once to the node that imports its slot.
    fn on_ask(&mut self, ctx: Context<'_>, to: Address, mut issued: Issued) -> Option<Issued> {
        issued.asking = true;
        let id = self.node_at(ctx, to);
        let Some(id) = id else { return self.pause(ctx, issued) };
        if let Some(node) = self.nodes.get_mut(id) {
            node.idle_until = ctx.now + IDLE_KEPT;
        }
        self.send_to(ctx, id, issued);
        None
    }

    /// Send a command again after a pause. Return the command if its timeout ends before that.
    fn pause(&mut self, ctx: Context<'_>, mut issued: Issued) -> Option<Issued> {
        let until = issued.issued_at + ctx.config.command_timeout;
        let left = until.saturating_duration_since(ctx.now);
        if left <= RETRY_PAUSE {
            return Some(issued);
        }
        // The pause grows, so that a faulty server is not kept busy with refusals, and has jitter.
        let nominal = (RETRY_PAUSE * 2_u32.pow(issued.pauses.min(PAUSE_DOUBLINGS).into()))
            .min(left - RETRY_PAUSE);
        let at = ctx.now + nominal / 2 + self.rng.below(nominal / 2);
        issued.pauses = issued.pauses.saturating_add(1);
        issued.asking = false;
        if !mutant!(RefusedForgotten) {
            self.paused.push_at(at, issued);
        }
        None
    }

    /// End the pauses of the commands for a node. They were refused on its lost connection.
    pub(super) fn resume(&mut self, ctx: Context<'_>, id: NodeId) {
        let cluster = self.cluster.as_ref();
        let is_for_node =
            |issued: &Issued| cluster.is_none_or(|cluster| cluster.owner(issued.slot) == Some(id));
        for issued in self.paused.take_where(is_for_node) {
            self.route(ctx, issued);
        }
    }

    fn give_up(&mut self, mut issued: Issued, refusal: &Refusal) {
        issued.last_refusal = None;
        let (name, last) = (issued.command.name(), &refusal.0);
        let text = format!("the {name} was redirected {REDIRECTS_MAX} times, last with `{last}`");
        self.effects.fail(issued, Error::new(ErrorKind::Unavailable, text));
    }
}
