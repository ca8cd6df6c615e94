//! What a modelled server is told before it starts, as a configuration file would.

use std::collections::BTreeSet;

/// The settings of a [`Server`](super::Server).
///
/// The default is a Redis 7.0.15 as installed: no password, RESP3, tracking allowed, no limit on memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The version that the server claims and whose behaviour it shows, as major, minor, patch.
    ///
    /// From 7.2 on, `CLIENT SETINFO` exists and a script tracks the keys that it reads, not the keys that it declares.
    pub version: (u8, u8, u8),
    /// The password of the default user; `None` lets everybody in.
    pub password: Option<String>,
    /// How far the server understands `HELLO`.
    pub hello: HelloSupport,
    /// Commands that are answered with `NOPERM`, by full name in lower case: `eval`, `client|tracking`.
    pub forbidden: BTreeSet<String>,
    /// How many clients may be connected at once.
    pub clients_max: usize,
    /// How many keys the tracking table remembers before it forgets some of them; 0 means no limit.
    pub tracking_keys_max: usize,
    /// How many bytes the keys may take; 0 means no limit.
    pub memory_max: u64,
    /// Which keys make room when memory is short.
    pub eviction: Eviction,
    /// Whether expired keys are deleted in the background, or only when somebody reads them.
    pub active_expiry: bool,
    /// How many commands [`Server::log`](super::Server::log) remembers.
    pub log_max: usize,
    /// Seeds the choice of the keys that eviction and a full tracking table hit.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: (7, 0, 15),
            password: None,
            hello: HelloSupport::Resp3,
            forbidden: BTreeSet::new(),
            clients_max: 10_000,
            tracking_keys_max: 1_000_000,
            memory_max: 0,
            eviction: Eviction::NoEviction,
            active_expiry: true,
            log_max: 4096,
            seed: 0,
        }
    }
}

impl Config {
    pub(super) fn version_text(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }

    pub(super) fn knows_setinfo(&self) -> bool {
        self.version >= (7, 2, 0)
    }

    pub(super) fn tracks_what_scripts_read(&self) -> bool {
        self.version >= (7, 2, 0)
    }
}

/// How far a server understands `HELLO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloSupport {
    /// Versions 2 and 3 of the protocol.
    Resp3,
    /// `HELLO` exists, but version 3 is refused with `NOPROTO`.
    NoProto,
    /// `HELLO` is an unknown command, as before Redis 6.
    Unknown,
}

/// Which keys make room when memory is short, under the names of `maxmemory-policy`.
///
/// The model does not know how often or how lately a key was used, so `lru`, `lfu` and `random` all go by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the server's documentation")]
pub enum Eviction {
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    NoEviction,
}

impl Eviction {
    /// Every policy, in the order in which the server lists them.
    const ALL: [Self; 8] = [
        Self::VolatileLru,
        Self::VolatileLfu,
        Self::VolatileRandom,
        Self::VolatileTtl,
        Self::AllkeysLru,
        Self::AllkeysLfu,
        Self::AllkeysRandom,
        Self::NoEviction,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::VolatileLru => "volatile-lru",
            Self::VolatileLfu => "volatile-lfu",
            Self::VolatileRandom => "volatile-random",
            Self::VolatileTtl => "volatile-ttl",
            Self::AllkeysLru => "allkeys-lru",
            Self::AllkeysLfu => "allkeys-lfu",
            Self::AllkeysRandom => "allkeys-random",
            Self::NoEviction => "noeviction",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}
