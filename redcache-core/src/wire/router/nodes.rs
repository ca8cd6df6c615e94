//! The servers that the router knows.

use slab::Slab;

use super::id::NodeId;
use super::node::Node;
use crate::api::config::Address;
use crate::protocol::topology::PRIMARIES_MAX;

/// The largest number of nodes at a time: every primary that a cluster may have, and as many former
/// or future ones.
const NODES_MAX: usize = 2 * PRIMARIES_MAX;

/// The table of nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes(Slab<Node>);

impl Nodes {
    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.0.get(id.index())
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.0.get_mut(id.index())
    }

    /// Add a node, unless there are too many.
    pub(super) fn insert(&mut self, node: Node) -> Option<NodeId> {
        // The index is less than `NODES_MAX`, so it fits a `u16`.
        (self.0.len() < NODES_MAX).then(|| NodeId(self.0.insert(node) as u16))
    }

    pub(super) fn remove(&mut self, id: NodeId) -> Option<Node> {
        self.0.try_remove(id.index())
    }

    pub(super) fn at(&self, address: &Address) -> Option<NodeId> {
        self.iter().find(|(_, node)| node.address == *address).map(|(id, _)| id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.0.iter().map(|(index, node)| (NodeId(index as u16), node))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Node)> {
        self.0.iter_mut().map(|(index, node)| (NodeId(index as u16), node))
    }

    /// Return every id that may be in use, for loops that add or remove nodes.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.0.capacity()).map(|index| NodeId(index as u16))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
