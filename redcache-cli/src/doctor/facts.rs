//! The facts about servers that a diagnosis follows from.

use std::time::Duration;

use super::commands::Need;
use crate::exit::Failure;
use crate::greeting::Greeting;

/// Everything that the examination has found.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The servers of the URL, without a login.
    pub(crate) servers: String,
    pub(crate) kind: Kind,
    pub(crate) has_tls: bool,
    /// The result of a cache that connects as an application does.
    pub(crate) cache: Result<(), Failure>,
    pub(crate) nodes: Vec<NodeFacts>,
    /// Nodes of the cluster beyond the limit.
    pub(crate) left_out: usize,
}

/// The kind of servers that the URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    One,
    Sentinel,
    Cluster,
}

/// The facts about one server.
#[derive(Debug, Clone)]
pub(crate) struct NodeFacts {
    pub(crate) address: String,
    /// The server's description of itself, or the reason why there is none.
    pub(crate) greeting: Result<Greeting, Failure>,
    /// The commands that were tried.
    pub(crate) commands: Vec<Tried>,
    pub(crate) tracking: Tracking,
    pub(crate) latency: Option<Latency>,
    /// The eviction policy and the memory limit, if the login may read them.
    pub(crate) memory: Option<Memory>,
}

/// A command that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tried {
    /// The name in the words of ACL rules.
    pub(crate) name: &'static str,
    pub(crate) need: Need,
    pub(crate) refusal: Option<String>,
}

/// The result of the tracking probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// The invalidation of a key came after this time.
    Invalidated(Duration),
    /// The server accepted `CLIENT TRACKING` and sent no invalidation.
    Silent,
    /// The server refused `CLIENT TRACKING`.
    Refused(String),
    /// The server has no RESP3.
    NoResp3,
    /// The probe was not possible, for this reason.
    NotProbed(String),
}

/// The times of several `PING`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latency {
    pub(crate) min: Duration,
    pub(crate) median: Duration,
    pub(crate) max: Duration,
    pub(crate) samples: usize,
}

impl Latency {
    /// Summarize samples; `None` if there are none.
    pub(crate) fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        Some(Self {
            min: *samples.first()?,
            median: samples[samples.len() / 2],
            max: *samples.last()?,
            samples: samples.len(),
        })
    }
}

/// The memory settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The limit in bytes; zero for none.
    pub(crate) limit: u64,
    pub(crate) policy: String,
}
