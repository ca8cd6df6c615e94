//! Options of a simulation.

/// How to run a world.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The server is a cluster.
    pub cluster: bool,
    /// Write down what happens, for people to read.
    pub trace: bool,
    /// End the disturbed part after so many steps, if it has not ended by then.
    pub disturbed_steps_max: Option<u64>,
}
