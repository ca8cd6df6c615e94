//! How often each fault struck and each invariant had something to say: a check that is never put to use proves
//! nothing.

use super::Invariant;

/// The ways in which a simulated world goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each fault says in `name` what it is")]
pub enum Fault {
    Split,
    Coalesce,
    Stall,
    DeadBothWays,
    DeadToServer,
    DeadToClient,
    CutBefore,
    CutInside,
    CutAfter,
    LastWords,
    DialRefused,
    DialHangs,
    RestartKeep,
    RestartEmpty,
    Down,
    FlushAll,
    Expiry,
    Eviction,
    TableOverflow,
    Loading,
    ReadOnly,
    OutOfMemory,
    ScriptFlush,
    Busy,
    MaxClients,
    TryAgain,
    NoTracking,
    NoProto,
    SpuriousPush,
    SpuriousFlush,
    UnknownPush,
    ForeignSet,
    ForeignDelete,
    ForeignExpire,
    ForeignLock,
    ForeignEndlessLock,
    LoaderSlow,
    LoaderSlowerThanLock,
    LoaderFails,
    LoaderPanics,
    LoaderNeverEnds,
    LoaderNotFound,
    LoaderTooLarge,
    LoaderOwnTtl,
    LoaderUnstored,
    LoaderLockLike,
    LoaderExtraKey,
    LoaderOmitsKey,
    CallerDropped,
    CallerDroppedLoading,
    Crash,
    Close,
    Pause,
    Skew,
    SlotMoved,
    SlotMovedLate,
    SlotMigrates,
    Failover,
    FailoverLossy,
    PrimaryDies,
    WritesLost,
    ClusterDown,
    SlotsUnserved,
    MovedLoop,
    MovedToSelf,
    MovedAstray,
    StaleMap,
    EmptyMap,
    UnknownHost,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 69] = [
        Self::Split,
        Self::Coalesce,
        Self::Stall,
        Self::DeadBothWays,
        Self::DeadToServer,
        Self::DeadToClient,
        Self::CutBefore,
        Self::CutInside,
        Self::CutAfter,
        Self::LastWords,
        Self::DialRefused,
        Self::DialHangs,
        Self::RestartKeep,
        Self::RestartEmpty,
        Self::Down,
        Self::FlushAll,
        Self::Expiry,
        Self::Eviction,
        Self::TableOverflow,
        Self::Loading,
        Self::ReadOnly,
        Self::OutOfMemory,
        Self::ScriptFlush,
        Self::Busy,
        Self::MaxClients,
        Self::TryAgain,
        Self::NoTracking,
        Self::NoProto,
        Self::SpuriousPush,
        Self::SpuriousFlush,
        Self::UnknownPush,
        Self::ForeignSet,
        Self::ForeignDelete,
        Self::ForeignExpire,
        Self::ForeignLock,
        Self::ForeignEndlessLock,
        Self::LoaderSlow,
        Self::LoaderSlowerThanLock,
        Self::LoaderFails,
        Self::LoaderPanics,
        Self::LoaderNeverEnds,
        Self::LoaderNotFound,
        Self::LoaderTooLarge,
        Self::LoaderOwnTtl,
        Self::LoaderUnstored,
        Self::LoaderLockLike,
        Self::LoaderExtraKey,
        Self::LoaderOmitsKey,
        Self::CallerDropped,
        Self::CallerDroppedLoading,
        Self::Crash,
        Self::Close,
        Self::Pause,
        Self::Skew,
        Self::SlotMoved,
        Self::SlotMovedLate,
        Self::SlotMigrates,
        Self::Failover,
        Self::FailoverLossy,
        Self::PrimaryDies,
        Self::WritesLost,
        Self::ClusterDown,
        Self::SlotsUnserved,
        Self::MovedLoop,
        Self::MovedToSelf,
        Self::MovedAstray,
        Self::StaleMap,
        Self::EmptyMap,
        Self::UnknownHost,
    ];

    /// Says whether it can happen to a cluster only.
    pub fn is_of_cluster(self) -> bool {
        self as usize >= Self::SlotMoved as usize
    }

    /// Says in a few words what it is.
    pub fn name(self) -> &'static str {
        match self {
            Self::Split => "bytes split",
            Self::Coalesce => "sends coalesced",
            Self::Stall => "link stalled",
            Self::DeadBothWays => "link dead both ways",
            Self::DeadToServer => "link dead to the server",
            Self::DeadToClient => "link dead to the process",
            Self::CutBefore => "link cut before a frame",
            Self::CutInside => "link cut inside a frame",
            Self::CutAfter => "link cut after a frame",
            Self::LastWords => "link lost, and what was sent on it arrives late",
            Self::DialRefused => "connection refused",
            Self::DialHangs => "connection attempt hangs",
            Self::RestartKeep => "server restarted with its data",
            Self::RestartEmpty => "server restarted empty",
            Self::Down => "server down for a while",
            Self::FlushAll => "FLUSHALL",
            Self::Expiry => "key expired",
            Self::Eviction => "key evicted",
            Self::TableOverflow => "tracking table overflows",
            Self::Loading => "LOADING",
            Self::ReadOnly => "READONLY",
            Self::OutOfMemory => "OOM",
            Self::ScriptFlush => "SCRIPT FLUSH",
            Self::Busy => "BUSY",
            Self::MaxClients => "max number of clients",
            Self::TryAgain => "one command refused for the moment",
            Self::NoTracking => "CLIENT TRACKING forbidden",
            Self::NoProto => "no RESP3",
            Self::SpuriousPush => "invalidation without a cause",
            Self::SpuriousFlush => "flush without a cause",
            Self::UnknownPush => "push of an unknown kind",
            Self::ForeignSet => "foreign SET",
            Self::ForeignDelete => "foreign DEL",
            Self::ForeignExpire => "foreign PEXPIRE",
            Self::ForeignLock => "foreign lock",
            Self::ForeignEndlessLock => "foreign lock without ttl",
            Self::LoaderSlow => "loader slow",
            Self::LoaderSlowerThanLock => "loader slower than its lock",
            Self::LoaderFails => "loader fails",
            Self::LoaderPanics => "loader panics",
            Self::LoaderNeverEnds => "loader never ends",
            Self::LoaderNotFound => "loader finds nothing",
            Self::LoaderTooLarge => "loader gives too large a value",
            Self::LoaderOwnTtl => "loader sets a ttl",
            Self::LoaderUnstored => "loader forbids storing",
            Self::LoaderLockLike => "loader gives what looks like a lock",
            Self::LoaderExtraKey => "loader gives a key too many",
            Self::LoaderOmitsKey => "loader leaves a key out",
            Self::CallerDropped => "caller dropped",
            Self::CallerDroppedLoading => "caller dropped while it loads",
            Self::Crash => "process crashed",
            Self::Close => "cache closed midway",
            Self::Pause => "process paused",
            Self::Skew => "clocks at different rates",
            Self::SlotMoved => "slot moved at once",
            Self::SlotMovedLate => "slot moved at once, its old keys deleted late",
            Self::SlotMigrates => "slot migrates key by key",
            Self::Failover => "failover without loss",
            Self::FailoverLossy => "failover, the primary demoted",
            Self::PrimaryDies => "primary dies and its replica takes over",
            Self::WritesLost => "writes lost in a failover",
            Self::ClusterDown => "node takes the cluster for down",
            Self::SlotsUnserved => "node without its slots",
            Self::MovedLoop => "two nodes send to each other",
            Self::MovedToSelf => "node sends to itself",
            Self::MovedAstray => "node sends to nobody",
            Self::StaleMap => "node with an old map",
            Self::EmptyMap => "node with an empty map",
            Self::UnknownHost => "node that knows no hosts",
        }
    }
}

/// How often each fault and each premise of an invariant occurred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    faults: [u64; Fault::ALL.len()],
    premises: [u64; Invariant::ALL.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self { faults: [0; Fault::ALL.len()], premises: [0; Invariant::ALL.len()] }
    }
}

impl Tally {
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    pub(crate) fn premise(&mut self, invariant: Invariant) {
        self.premises[invariant as usize] += 1;
    }

    /// Adds what another tally counted.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.faults.iter_mut().zip(&other.faults) {
            *sum += count;
        }
        for (sum, count) in self.premises.iter_mut().zip(&other.premises) {
            *sum += count;
        }
    }

    /// Each fault and how often it struck.
    pub fn faults(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        Fault::ALL.into_iter().zip(self.faults)
    }

    /// Each invariant and how often its premise held, so that it was put to the test.
    pub fn premises(&self) -> impl Iterator<Item = (Invariant, u64)> + '_ {
        Invariant::ALL.into_iter().zip(self.premises)
    }
}
