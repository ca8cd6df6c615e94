//! What a seed decides of a cluster.

use std::time::Duration;

use crate::clock::Micros;
use crate::rng::Rng;

/// How many primaries there are, each with one replica.
pub(crate) const SHARDS: usize = 3;

/// Where all nodes are; they differ by their ports.
pub(crate) const HOST: &str = "cluster";
const FIRST_PORT: u16 = 7000;

/// The port of a node.
pub(crate) fn port_of(node: usize) -> u16 {
    // There are six nodes.
    FIRST_PORT + node as u16
}

/// What a seed decides of a cluster.
#[derive(Debug)]
pub(crate) struct ClusterPlan {
    /// How long a change takes from a primary to its replica.
    pub(crate) lag: Micros,
    /// The nodes that every process is told of.
    pub(crate) seeds: Vec<usize>,
    /// How often processes ask who owns what.
    pub(crate) refresh: Duration,
}

impl ClusterPlan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let nodes = 2 * SHARDS;
        let first = rng.index(nodes);
        let count = rng.weighted(&[(1, 1), (3, 3), (1, nodes)]);
        Self {
            lag: rng.pick(&[0, 1_000, 20_000, 100_000]),
            seeds: (0..count).map(|at| (first + at) % nodes).collect(),
            refresh: Duration::from_millis(rng.pick(&[100, 300, 1_000])),
        }
    }
}
