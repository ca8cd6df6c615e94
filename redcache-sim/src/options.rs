//! The options of a simulation.

/// The options of a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Simulate a cluster instead of a single server.
    pub cluster: bool,
    /// Simulate a group under Redis Sentinel instead.
    pub sentinels: bool,
    /// Simulate processes that share a namespace which they clear instead.
    pub namespaces: bool,
    /// Make most calls changes, and crash processes often; for servers and clusters.
    pub changes: bool,
    /// Make some values large, so that they have a connection of their own; for servers, clusters
    /// and groups under Redis Sentinel.
    pub large: bool,
    /// Record a readable trace.
    pub trace: bool,
    /// End the faults after this many steps at the latest.
    pub disturbed_steps_max: Option<u64>,
}
