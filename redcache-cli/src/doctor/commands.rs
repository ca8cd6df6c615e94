//! The commands that redcache uses, and the purpose of each.

use redcache_core::protocol::Script;

/// The purpose of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// No call works without it.
    Everything,
    /// `insert` and the locks of loads need it.
    Writes,
    /// Locks need it: shared loads, `insert_with`, `touch`, refreshes.
    Locks,
    /// It saves round trips.
    Speed,
    /// A cluster needs it.
    Cluster,
}

/// A command to try on a key of the doctor's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) name: &'static str,
    pub(crate) need: Need,
    /// The command; [`KEY`] stands for the key.
    pub(crate) words: &'static [&'static str],
}

/// Stands for the key in a [`Probe`].
pub(crate) const KEY: &str = "{key}";

/// The TTL of the doctor's keys in milliseconds.
pub(crate) const TTL_MS: &str = "10000";

/// The commands in the order in which they are tried. Each leaves the key at most [`TTL_MS`] to
/// live, and the last one deletes it.
pub(crate) const PROBES: &[Probe] = &[
    Probe {
        name: "set",
        need: Need::Writes,
        words: &["SET", KEY, "redcache doctor", "PX", TTL_MS],
    },
    Probe { name: "get", need: Need::Everything, words: &["GET", KEY] },
    Probe { name: "pttl", need: Need::Everything, words: &["PTTL", KEY] },
    Probe { name: "mget", need: Need::Speed, words: &["MGET", KEY] },
    Probe { name: "getrange", need: Need::Speed, words: &["GETRANGE", KEY, "0", "7"] },
    Probe { name: "exists", need: Need::Locks, words: &["EXISTS", KEY] },
    Probe { name: "getex", need: Need::Locks, words: &["GETEX", KEY] },
    Probe { name: "pexpire", need: Need::Locks, words: &["PEXPIRE", KEY, TTL_MS] },
    Probe {
        name: "eval",
        need: Need::Locks,
        words: &["EVAL", Script::Renew.source(), "1", KEY, "redcache doctor", TTL_MS],
    },
    Probe {
        name: "evalsha",
        need: Need::Locks,
        words: &["EVALSHA", Script::Renew.sha1(), "1", KEY, "redcache doctor", TTL_MS],
    },
    Probe { name: "del", need: Need::Writes, words: &["DEL", KEY] },
];

/// The commands that only a cluster needs.
pub(crate) const CLUSTER_PROBES: &[Probe] = &[
    Probe { name: "cluster|shards", need: Need::Cluster, words: &["CLUSTER", "SHARDS"] },
    Probe { name: "cluster|slots", need: Need::Cluster, words: &["CLUSTER", "SLOTS"] },
    Probe { name: "cluster|info", need: Need::Cluster, words: &["CLUSTER", "INFO"] },
    Probe { name: "asking", need: Need::Cluster, words: &["ASKING"] },
];

/// Return whether an error means that the server has the command and lets the login run it.
pub(crate) fn is_harmless(refusal: &str) -> bool {
    refusal.starts_with("NOSCRIPT")
}
