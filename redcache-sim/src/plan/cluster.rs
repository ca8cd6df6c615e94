//! The plan of a cluster.

use std::time::Duration;

use crate::clock::Micros;
use crate::rng::Rng;

/// The number of primaries, each with one replica.
pub(crate) const SHARDS: usize = 3;

/// The host of all nodes; their ports differ.
pub(crate) const HOST: &str = "cluster";
const FIRST_PORT: u16 = 7000;

/// Return the port of a node.
pub(crate) fn port_of(node: usize) -> u16 {
    // There are six nodes.
    FIRST_PORT + node as u16
}

/// The decisions of a seed about a cluster.
#[derive(Debug)]
pub(crate) struct ClusterPlan {
    /// The replication delay.
    pub(crate) lag: Micros,
    /// The seed nodes in the configuration.
    pub(crate) seeds: Vec<usize>,
    /// The interval of discovery.
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
