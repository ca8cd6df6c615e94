//! Which faults a seed plans, and when they are injected.

use crate::clock::Micros;
use crate::fault::Fault;
use crate::rng::Rng;

/// Faults that a world may be told of ahead, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Faults(u128);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0 |= 1 << fault as u64;
    }

    pub(crate) fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u64) != 0
    }
}

/// Faults that strike at a moment of the plan.
pub(crate) const STRIKES: [Fault; 33] = [
    Fault::Stall,
    Fault::DeadBothWays,
    Fault::DeadToServer,
    Fault::DeadToClient,
    Fault::CutBefore,
    Fault::CutInside,
    Fault::CutAfter,
    Fault::LastWords,
    Fault::DialRefused,
    Fault::DialHangs,
    Fault::RestartKeep,
    Fault::RestartEmpty,
    Fault::Down,
    Fault::FlushAll,
    Fault::Eviction,
    Fault::TableOverflow,
    Fault::Loading,
    Fault::ReadOnly,
    Fault::OutOfMemory,
    Fault::ScriptFlush,
    Fault::Busy,
    Fault::MaxClients,
    Fault::TryAgain,
    Fault::SpuriousPush,
    Fault::SpuriousFlush,
    Fault::UnknownPush,
    Fault::ForeignSet,
    Fault::ForeignDelete,
    Fault::ForeignExpire,
    Fault::ForeignLock,
    Fault::ForeignEndlessLock,
    Fault::Crash,
    Fault::Close,
];

/// Those that leave links and server in good health, so that nothing may fail or be late for them.
pub(crate) const GENTLE: [Fault; 13] = [
    Fault::FlushAll,
    Fault::Eviction,
    Fault::TableOverflow,
    Fault::ScriptFlush,
    Fault::SpuriousPush,
    Fault::SpuriousFlush,
    Fault::UnknownPush,
    Fault::ForeignSet,
    Fault::ForeignDelete,
    Fault::ForeignExpire,
    Fault::ForeignLock,
    Fault::Crash,
    Fault::Close,
];

/// Those that strike a cluster, besides.
pub(crate) const CLUSTER_STRIKES: [Fault; 14] = [
    Fault::SlotMoved,
    Fault::SlotMovedLate,
    Fault::SlotMigrates,
    Fault::Failover,
    Fault::FailoverLossy,
    Fault::PrimaryDies,
    Fault::ClusterDown,
    Fault::SlotsUnserved,
    Fault::MovedLoop,
    Fault::MovedToSelf,
    Fault::MovedAstray,
    Fault::StaleMap,
    Fault::EmptyMap,
    Fault::UnknownHost,
];

/// Those of them that a cluster in good health goes through.
pub(crate) const CLUSTER_GENTLE: [Fault; 3] =
    [Fault::SlotMoved, Fault::SlotMigrates, Fault::Failover];

/// What loaders and callers may do.
pub(crate) const HABITS: [Fault; 14] = [
    Fault::LoaderSlow,
    Fault::LoaderSlowerThanLock,
    Fault::LoaderFails,
    Fault::LoaderPanics,
    Fault::LoaderNeverEnds,
    Fault::LoaderNotFound,
    Fault::LoaderTooLarge,
    Fault::LoaderOwnTtl,
    Fault::LoaderUnstored,
    Fault::LoaderLockLike,
    Fault::LoaderExtraKey,
    Fault::LoaderOmitsKey,
    Fault::CallerDropped,
    Fault::Expiry,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing goes wrong.
    Pristine,
    /// Links and server are in good health.
    Gentle,
    Rough,
}

pub(crate) fn strikes(
    kind: Kind,
    disturbed: Micros,
    is_cluster: bool,
    dice: &mut Rng,
) -> Vec<(Micros, Fault)> {
    let choices: &[Fault] = match kind {
        Kind::Pristine => return Vec::new(),
        Kind::Gentle => &GENTLE,
        Kind::Rough => &STRIKES,
    };
    // A few classes that strike often meet in more ways than many that strike once.
    let of_cluster: &[Fault] = if kind == Kind::Rough { &CLUSTER_STRIKES } else { &CLUSTER_GENTLE };
    let class = |dice: &mut Rng| {
        let choices = if is_cluster && dice.chance(600) { of_cluster } else { choices };
        dice.pick(choices)
    };
    let classes: Vec<Fault> = (0..dice.between(1, 4)).map(|_| class(dice)).collect();
    let count = dice.between(1, 12);
    let mut strikes: Vec<_> =
        (0..count).map(|_| (dice.below(disturbed), dice.pick(&classes))).collect();
    strikes.sort_unstable_by_key(|(at, _)| *at);
    strikes
}
