//! Lost connections: the treatment of their commands and of their nodes.

use std::time::Instant;

use super::advice;
use super::context::Context;
use super::culprits;
use super::effects::{Action, RouterEvent};
use super::id::{ConnId, NodeId};
use super::links::Lane;
use super::node::{Disconnected, Node, is_lasting};
use super::routing::Router;
use crate::api::error::{Error, ErrorKind};
use crate::wire::issued::{ATTEMPTS_MAX, Issued};

impl Router {
    /// Handle the loss of a connection, or the failure of the attempt to connect.
    pub(crate) fn handle_disconnected(&mut self, ctx: Context<'_>, id: ConnId, reason: &str) {
        self.on_hang_up(ctx, id, reason);
        self.peers.on_ended(id, false);
    }

    fn on_hang_up(&mut self, ctx: Context<'_>, id: ConnId, reason: &str) {
        if id.node == NodeId::SENTINEL {
            return self.on_sentinel_disconnected(ctx, id, reason);
        }
        if self.is_large(id) {
            return self.on_large_hang_up(ctx, id);
        }
        if let Some(node) = self.nodes.get_mut(id.node)
            && node.link.has(id)
        {
            // The reason of an encrypted connection contains the advice.
            let is_unanswered = node.link.is_unanswered() && ctx.config.tls().is_none();
            let advice = if is_unanswered { advice::TLS } else { "" };
            node.on_hang_up(ctx.config);
            self.lose(ctx, id, reason, advice);
        }
    }

    pub(super) fn lose(&mut self, ctx: Context<'_>, id: ConnId, reason: &str, advice: &str) {
        let Some(node) = self.nodes.get(id.node) else { return };
        let text = format!("{}: {reason}{advice}", node.address);
        self.on_disconnect(ctx, id.node, &Error::new(ErrorKind::Unavailable, text));
    }

    /// Give a connection up. Repeatable commands wait for the next one, or for another owner of
    /// their slot.
    pub(super) fn on_disconnect(&mut self, ctx: Context<'_>, id: NodeId, reason: &Error) {
        let slots = self.slots_of(id);
        let Some(node) = self.nodes.get_mut(id) else { return };
        let conn = node.link.conn();
        let has_others = conn.is_some_and(|conn| self.peers.others(conn) > 0);
        let was_announced = node.is_announced;
        let address = node.address.clone();
        let Disconnected { was_ready, is_in_doubt, unanswered } =
            node.on_disconnect(ctx.now, (reason, has_others), &mut self.rng);
        // The large link lives within the ordinary one.
        let large = node.lose_large(ctx.now, &mut self.rng).map(|(conn, lost)| {
            self.effects.actions.push_back(Action::HangUp { conn });
            lost
        });
        // This event precedes those of single commands: from now on, nothing is tracked.
        if was_announced {
            self.push_event(RouterEvent::Down { address, reason: reason.clone(), slots });
        } else if !is_in_doubt && (self.cluster.is_none() || node.slots > 0) {
            let (address, reason) = (Some(address), reason.clone());
            self.push_event(RouterEvent::NotUp { address, reason });
        }
        let (of_large, unsent) =
            large.map(|lost| (lost.unanswered, lost.unsent)).unwrap_or_default();
        for issued in unanswered.into_iter().chain(of_large) {
            self.requeue(ctx, issued);
        }
        for issued in unsent {
            self.route_anew(ctx, issued);
        }
        let outage = self.nodes.get(id).and_then(|node| node.outage(ctx.now, ctx.config));
        if self.is_closed || (!was_ready && !is_in_doubt && is_lasting(reason)) {
            self.fail_queue(id, reason);
            if self.cluster.is_none() {
                self.fail_paused(reason);
            }
        } else if let Some(outage) = outage {
            self.fail_waiting(id, &outage);
        }
        self.search_primary(ctx);
        self.on_node_lost(ctx, id, (was_ready, has_others), reason);
    }

    /// Leave a server that is not ready or not the right one, once its commands are answered.
    pub(super) fn leave_questionable(&mut self, ctx: Context<'_>, id: NodeId) {
        if let Some(reason) = self.nodes.get(id).and_then(Node::to_leave) {
            self.hang_up_on(ctx, id, &reason);
        }
    }

    /// Leave a server that has refused a command as malformed. It hangs up without reading further,
    /// so all later commands are sent again.
    pub(super) fn leave_unread(&mut self, ctx: Context<'_>, conn: ConnId) {
        let Some(node) = self.nodes.get_mut(conn.node) else { return };
        if let Some(open) = node.open_mut(conn) {
            open.on_unread();
        }
        let text = format!("{}: it refuses a command as malformed", node.address);
        self.leave(ctx, conn, &Error::new(ErrorKind::Unavailable, text));
    }

    /// Hang up on one link of a node. The large link ends with the ordinary one.
    pub(super) fn leave(&mut self, ctx: Context<'_>, conn: ConnId, reason: &Error) {
        match self.nodes.get(conn.node).and_then(|node| node.lane(conn)) {
            Some(Lane::Ordinary) => {
                self.effects.actions.push_back(Action::HangUp { conn });
                self.on_disconnect(ctx, conn.node, reason);
            }
            Some(Lane::Large) => self.hang_up_large(ctx, conn),
            None => {}
        }
    }

    /// Fail the commands that wait for an unavailable server. A command that releases a lock
    /// continues to wait.
    fn fail_waiting(&mut self, id: NodeId, error: &Error) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let mut waiting: Vec<Issued> = node.waiting.take().collect();
        if self.cluster.is_none() {
            waiting.extend(self.paused.take());
        }
        for issued in waiting {
            if issued.command.releases_lock() {
                node.waiting.push(issued);
            } else {
                self.effects.fail(issued, error.clone());
            }
        }
    }

    /// Queue a command of a lost connection again, unless it may not be executed twice.
    pub(super) fn requeue(&mut self, ctx: Context<'_>, mut issued: Issued) {
        issued.interrupted |= !issued.unread;
        issued.asking = false;
        let is_awaited = issued.token.is_some();
        let is_unread = std::mem::take(&mut issued.unread);
        issued.attempts = issued.attempts.saturating_sub(is_unread.into());
        let is_suspect = issued.hang_ups > 0 && !issued.command.releases_lock();
        if is_suspect && self.culprits.has_key(issued.command.key()) {
            issued.isolate();
        }
        let is_repeatable = is_unread || issued.command.is_repeatable() || mutant!(RetryOfAnything);
        if is_awaited && is_repeatable && issued.attempts < ATTEMPTS_MAX {
            self.route(ctx, issued);
        } else {
            self.fail_unanswered(ctx, issued);
        }
    }

    /// Fail a command whose connections were lost. If the server hung up each time, and the last
    /// time while the command was alone, the error names the command as the cause.
    fn fail_unanswered(&mut self, ctx: Context<'_>, issued: Issued) {
        let text = if issued.is_culprit() {
            if self.culprits.on_hang_up(ctx.now, &issued) {
                let keys = self.culprits.keys().cloned().collect();
                self.push_event(RouterEvent::HangsUpAtScripts { keys });
            }
            culprits::reason(&issued.command)
        } else {
            String::new()
        };
        self.effects.fail(issued, Error::new(ErrorKind::OutcomeUnknown, text));
    }

    /// Schedule the next query, because another node may own the slots by now.
    fn on_node_lost(
        &mut self,
        ctx: Context<'_>,
        id: NodeId,
        (was_ready, has_others): (bool, bool),
        reason: &Error,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.is_asked(id) {
            cluster.on_answered(ctx.now, ctx.config.discovery_interval, &mut self.rng);
        }
        if was_ready {
            cluster.request_discovery(ctx.now, None);
        } else {
            cluster.request_discovery_soon(ctx.now);
        }
        if cluster.seeds.tried == Some(id) && has_others {
            cluster.seeds.repeat(ctx.now);
        } else if cluster.seeds.tried == Some(id) {
            let is_round = cluster.seeds.pass(ctx.now, Some(reason), &mut self.rng);
            if is_round && !cluster.is_known {
                self.push_event(RouterEvent::NotUp { address: None, reason: reason.clone() });
                if is_lasting(reason) {
                    self.fail_unrouted(reason);
                }
            }
        }
        self.remove_if_unused(ctx, id);
    }

    /// Forget a node that is disconnected and owns no slot. Its commands go to the owners of their
    /// slots.
    fn remove_if_unused(&mut self, ctx: Context<'_>, id: NodeId) {
        let is_unused = |node: &Node| node.slots == 0 && node.link.is_down();
        if !self.nodes.get(id).is_some_and(is_unused) {
            return;
        }
        let queue = self.nodes.remove(id).map(|mut node| node.waiting.take());
        for issued in queue.into_iter().flatten() {
            self.route_anew(ctx, issued);
        }
    }

    /// Pass a command that was not sent to the owner of its slot, even if another node has
    /// redirected it with `ASK`.
    pub(super) fn route_anew(&mut self, ctx: Context<'_>, mut issued: Issued) {
        issued.asking = false;
        self.route(ctx, issued);
    }

    /// Hang up on a node.
    pub(super) fn hang_up_on(&mut self, ctx: Context<'_>, id: NodeId, reason: &Error) {
        let open = self.nodes.get(id).and_then(|node| node.link.open()).map(|(conn, _)| conn);
        if let Some(conn) = open {
            self.effects.actions.push_back(Action::HangUp { conn });
            self.on_disconnect(ctx, id, reason);
        }
    }

    /// Forget a node that is no longer needed.
    pub(super) fn end_idle(&mut self, now: Instant, id: NodeId) {
        let idle_until = self.nodes.get(id).and_then(|node| self.idle_until(id, node));
        if idle_until.is_some_and(|until| until <= now)
            && let Some(mut node) = self.nodes.remove(id)
        {
            node.hang_up(&mut self.effects);
        }
    }

    /// Return the instant until which an idle node is kept; `None` for a node that is needed.
    fn idle_until(&self, id: NodeId, node: &Node) -> Option<Instant> {
        let cluster = self.cluster.as_ref()?;
        let is_needed = node.slots > 0
            || node.in_flight() > 0
            || cluster.seeds.tried == Some(id)
            || cluster.is_asked(id);
        (!is_needed).then_some(node.idle_until)
    }

    /// Return the instant at which the next idle node is to be forgotten.
    pub(super) fn end_idle_at(&self) -> Option<Instant> {
        self.cluster.as_ref()?;
        self.nodes.iter().filter_map(|(id, node)| self.idle_until(id, node)).min()
    }
}
