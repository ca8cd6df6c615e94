//! The configuration of a modelled server.

use std::collections::BTreeSet;

/// The settings of a [`Server`](super::Server).
///
/// The default is a Redis 7.0.15 as installed: no password, RESP3, tracking allowed, no memory
/// limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The program that the server reports and behaves as.
    pub product: Product,
    /// The version that the server reports and behaves as: major, minor, patch.
    ///
    /// From 7.2 on, `CLIENT SETINFO` exists, and a script tracks the keys that it reads instead of
    /// those it declares.
    pub version: (u8, u8, u8),
    /// The password of the default user; `None` for no authentication.
    pub password: Option<String>,
    /// Passwords that are refused in any case.
    pub refused_passwords: BTreeSet<String>,
    /// The support of `HELLO`.
    pub hello: HelloSupport,
    /// Whether the server hangs up at `EVAL` and `EVALSHA`, as some proxies do.
    pub hangs_up_at_scripts: bool,
    /// Commands that are refused with `NOPERM`, by full name in lower case: `eval`,
    /// `client|tracking`.
    pub forbidden: BTreeSet<String>,
    /// The largest number of connected clients.
    pub clients_max: usize,
    /// The largest number of keys in the tracking table; 0 for no limit.
    pub tracking_keys_max: usize,
    /// The largest number of bytes of all keys; 0 for no limit.
    pub memory_max: u64,
    /// The keys that are evicted when memory is short.
    pub eviction: Eviction,
    /// Whether `CLUSTER SHARDS` lists the node's own shard only, as a node does that was upgraded
    /// from 7.0 and has learned no other shard's id.
    pub lists_own_shard: bool,
    /// Whether expired keys are deleted in the background, or only on access.
    pub active_expiry: bool,
    /// The largest number of commands in [`Server::log`](super::Server::log).
    pub log_max: usize,
    /// The seed for choosing evicted keys and dropped tracking entries.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            product: Product::Redis,
            version: (7, 0, 15),
            password: None,
            refused_passwords: BTreeSet::new(),
            hello: HelloSupport::Resp3,
            hangs_up_at_scripts: false,
            forbidden: BTreeSet::new(),
            clients_max: 10_000,
            tracking_keys_max: 1_000_000,
            memory_max: 0,
            eviction: Eviction::NoEviction,
            lists_own_shard: false,
            active_expiry: true,
            log_max: 4096,
            seed: 0,
        }
    }
}

impl Config {
    /// Return the settings of a Redis 8.2.3 as installed.
    pub fn redis_8() -> Self {
        Self { version: (8, 2, 3), ..Self::default() }
    }

    /// Return the settings of a Valkey 9.1.2 as installed.
    pub fn valkey_9() -> Self {
        Self { product: Product::Valkey, version: (9, 1, 2), ..Self::default() }
    }
}

/// The program that a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Redis.
    Redis,
    /// Valkey, which was forked from Redis 7.2.
    Valkey,
}

/// The support of `HELLO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloSupport {
    /// Protocol versions 2 and 3.
    Resp3,
    /// `HELLO` exists, but version 3 is refused with `NOPROTO`.
    NoProto,
    /// `HELLO` is an unknown command, as before Redis 6.
    Unknown,
    /// The connection ends at `HELLO` and at `CLIENT`, as behind twemproxy.
    HangsUp,
}

/// The eviction policy, under the names of `maxmemory-policy`.
///
/// The model does not record accesses, so `lru`, `lfu` and `random` all choose at random.
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
    /// Every policy in the order of the server's list.
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
