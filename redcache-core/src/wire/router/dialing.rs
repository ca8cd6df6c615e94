//! Attempts to connect: the dial of a node, and the addresses that its name resolves to.

use super::context::Context;
use super::id::{ConnId, NodeId};
use super::links::Lane;
use super::routing::Router;
use crate::api::config::Address;

impl Router {
    /// Order the addresses that the host name of a connection resolves to, as they are to be tried.
    /// Both links of a node go to the same server.
    pub(crate) fn order_peers(&self, id: ConnId, peers: &mut Vec<Address>) {
        let node = self.nodes.get(id.node).filter(|node| node.lane(id) == Some(Lane::Large));
        let ordinary = node.and_then(|node| self.peers.of(node.link.conn()?));
        match ordinary {
            Some(ordinary) => peers.retain(|peer| peer == ordinary),
            None => self.peers.order(peers),
        }
    }

    /// Record the address of a connection before [`handle_connected`](Self::handle_connected).
    pub(crate) fn note_peer(&mut self, id: ConnId, peer: Address, rest: &[Address]) {
        if !self.is_large(id) {
            self.peers.on_connected(id, peer, rest);
        }
    }

    /// Dial a node, if that is due.
    pub(super) fn dial(&mut self, ctx: Context<'_>, id: NodeId) {
        let conn = ConnId { number: self.dialed + 1, node: id };
        if !self.is_closed
            && let Some(node) = self.nodes.get_mut(id)
            && node.is_located
            && let Some(action) = node.link.dial(ctx.now, conn, &node.address, ctx.config)
        {
            self.dialed += 1;
            self.effects.actions.push_back(action);
        }
    }
}
