//! The events of large links: ready, lost, silent, idle.

use super::context::Context;
use super::effects::{Action, RouterEvent};
use super::id::{ConnId, NodeId};
use super::large::LostLarge;
use super::links::Lane;
use super::routing::Router;
use crate::api::key::Key;

impl Router {
    /// Handle the end of a large link's handshake.
    pub(super) fn on_large_ready(&mut self, ctx: Context<'_>, id: NodeId, is_tracked: bool) {
        if let Some(large) = self.nodes.get_mut(id).and_then(|node| node.large.as_mut()) {
            large.on_ready(ctx.now, is_tracked, &mut self.rng);
            self.push_event(RouterEvent::LargeUp);
        }
    }

    /// Report the loss of everything that the large link tracked, because the server has dropped
    /// its tracking of all keys.
    pub(super) fn on_large_flushed(&self, id: NodeId) -> RouterEvent {
        let large = self.nodes.get(id).and_then(|node| node.large.as_ref());
        let keys = large.map(|large| large.tracked_keys().cloned().collect());
        RouterEvent::Untracked { keys: keys.unwrap_or_default() }
    }

    /// Handle the loss of the large link of a node. Its commands go to the ordinary link.
    pub(super) fn lose_large(&mut self, ctx: Context<'_>, id: NodeId) {
        let lost = self.nodes.get_mut(id).and_then(|node| node.lose_large(ctx.now, &mut self.rng));
        let Some((_, LostLarge { untracked, unanswered, unsent })) = lost else { return };
        // This event precedes those of single commands: from now on, nothing is tracked.
        if !untracked.is_empty() {
            self.push_event(RouterEvent::Untracked { keys: untracked });
        }
        for issued in unanswered {
            self.requeue(ctx, issued);
        }
        for issued in unsent {
            self.route_anew(ctx, issued);
        }
    }

    /// Hang up on the large link of a node. Its commands go to the ordinary link.
    pub(super) fn hang_up_large(&mut self, ctx: Context<'_>, conn: ConnId) {
        self.effects.actions.push_back(Action::HangUp { conn });
        self.lose_large(ctx, conn.node);
    }

    /// Handle the hang-up of a server on the large link, or a failed attempt to connect it.
    pub(super) fn on_large_hang_up(&mut self, ctx: Context<'_>, conn: ConnId) {
        if let Some(open) = self.nodes.get_mut(conn.node).and_then(|node| node.open_mut(conn)) {
            open.on_hang_up();
        }
        self.lose_large(ctx, conn.node);
    }

    /// Dial the large link of a node, or leave it if it is silent.
    pub(super) fn check_large(&mut self, ctx: Context<'_>, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let is_wanted = node.wants_large() && !self.is_closed;
        let Some(large) = &mut node.large else { return };
        if let Some((conn, _)) = large.link.check(ctx.now, ctx.config) {
            return self.hang_up_large(ctx, conn);
        }
        let conn = ConnId { number: self.dialed + 1, node: id };
        if is_wanted && let Some(action) = large.link.dial(ctx.now, conn, &node.address, ctx.config)
        {
            self.dialed += 1;
            self.effects.actions.push_back(action);
        }
    }

    /// Close the large links that were not used lately and have no near entries that are hits.
    pub(crate) fn close_idle(&mut self, ctx: Context<'_>, is_hit: impl Fn(&Key) -> bool) {
        for id in self.nodes.ids() {
            let Some(node) = self.nodes.get_mut(id) else { continue };
            let Some(large) = &mut node.large else { continue };
            if large.idle_at(ctx.config).is_none_or(|at| ctx.now < at) {
                continue;
            }
            if large.tracked_keys().any(&is_hit) {
                large.on_used(ctx.now);
            } else if let Some(conn) = large.link.conn() {
                self.hang_up_large(ctx, conn);
            }
        }
    }

    /// Return whether `id` names a large link.
    pub(super) fn is_large(&self, id: ConnId) -> bool {
        self.nodes.get(id.node).is_some_and(|node| node.lane(id) == Some(Lane::Large))
    }
}
