//! The faults that a seed plans, and the times at which they are injected.

use crate::clock::Micros;
use crate::fault::Fault;
use crate::rng::Rng;
use crate::server;

/// A set of faults.
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

/// Faults that are injected at a planned time.
pub(crate) const INJECTED: [Fault; 34] = [
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
    Fault::Forbidden,
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

/// Faults that leave links and server healthy, so that nothing may fail or be late.
pub(crate) const HARMLESS: [Fault; 13] = [
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

/// Faults that are injected into clusters in addition.
pub(crate) const CLUSTER_INJECTED: [Fault; 15] = [
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
    Fault::MovedToUnknown,
    Fault::StaleMap,
    Fault::EmptyMap,
    Fault::UnknownHost,
    Fault::PartialMap,
];

/// Cluster changes that leave links and servers healthy.
pub(crate) const CLUSTER_HARMLESS: [Fault; 4] =
    [Fault::SlotMoved, Fault::SlotMigrates, Fault::Failover, Fault::PartialMap];

/// Faults of loaders and callers.
pub(crate) const LOADER_AND_CALLER_FAULTS: [Fault; 14] = [
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
    Undisturbed,
    /// Links and servers stay healthy.
    Harmless,
    Harmful,
}

pub(crate) fn injections(
    kind: Kind,
    disturbed: Micros,
    is_cluster: bool,
    rng: &mut Rng,
) -> Vec<(Micros, Fault)> {
    let choices: &[Fault] = match kind {
        Kind::Undisturbed => return Vec::new(),
        Kind::Harmless => &HARMLESS,
        Kind::Harmful => &INJECTED,
    };
    // A few classes injected often combine in more ways than many injected once.
    let of_cluster: &[Fault] =
        if kind == Kind::Harmful { &CLUSTER_INJECTED } else { &CLUSTER_HARMLESS };
    let class = |rng: &mut Rng| {
        let choices = if is_cluster && rng.chance(600) { of_cluster } else { choices };
        rng.pick(choices)
    };
    let classes: Vec<Fault> = (0..rng.between(1, 4)).map(|_| class(rng)).collect();
    let count = rng.between(1, 12);
    let mut injections: Vec<_> =
        (0..count).map(|_| (rng.below(disturbed), rng.pick(&classes))).collect();
    injections.sort_unstable_by_key(|(at, _)| *at);
    injections
}

/// Have the server track no keys.
pub(super) fn disable_tracking(faults: &mut Faults, server: &mut server::Config, rng: &mut Rng) {
    if rng.chance(500) {
        faults.add(Fault::NoTracking);
        server.forbidden.insert("client|tracking".to_owned());
    } else {
        faults.add(Fault::NoProto);
        server.hello = server::HelloSupport::NoProto;
    }
}
