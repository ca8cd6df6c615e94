//! Bugs on purpose, to prove that the simulator would find them.
//!
//! Each is a line that another project got wrong once, or that this one might. They exist in builds with
//! `--cfg redcache_mutants` only, which `simulate --mutants` makes for itself; anywhere else `mutant!` is the constant
//! `false`.

#[cfg(not(redcache_mutants))]
macro_rules! mutant {
    ($name:ident) => {
        false
    };
}

#[cfg(redcache_mutants)]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutant::Mutant::$name.is_on()
    };
}

#[cfg(redcache_mutants)]
mod switch {
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Zero when no bug is switched on, else one more than its place in [`Mutant::ALL`].
    static ON: AtomicUsize = AtomicUsize::new(0);

    macro_rules! mutants {
        ($($name:ident $description:literal,)*) => {
            /// A bug that can be switched on.
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Mutant {
                $(#[doc = $description] $name,)*
            }

            impl Mutant {
                /// Every bug.
                pub const ALL: &'static [Self] = &[$(Self::$name,)*];

                /// Return its name.
                pub fn name(self) -> &'static str {
                    match self { $(Self::$name => stringify!($name),)* }
                }

                /// Return what it breaks.
                pub fn description(self) -> &'static str {
                    match self { $(Self::$name => $description,)* }
                }
            }
        };
    }

    mutants! {
        NearFilledByCaller "the near cache is filled when the caller hears, not where the reply stands",
        FlushIgnoredByNear "a flush leaves the near cache as it is",
        FlushIgnoredByWaiters "a flush wakes nobody",
        PushIgnoredByWaiters "an invalidation wakes nobody",
        EpochKeptOnReconnect "a lost connection leaves the near cache as it is",
        OwnWriteKeepsNear "a write of the process leaves its near entry",
        EchoSwallowsNews "whatever push of a written key comes next is taken for the echo",
        PttlIgnored "a near entry lives as long as it may, whatever its key does",
        NearDeadlineIgnored "a near entry is served after its time",
        UntrackedTrusted "a connection without tracking counts as tracked",
        InvalidatedReadKept "a value that was invalidated while its reply came in is kept",
        PublishWithoutCompare "a loaded value is stored whatever the key holds",
        ReleaseByDelete "a lock is released by DEL",
        LockForEver "a lock lives as long as can be said",
        LockOverAnything "a lock replaces whatever the key holds",
        LockReused "two acquisitions share one lock",
        LockKeptOnFailure "a failed load keeps its lock",
        UnwantedLockKept "a lock that came too late is kept",
        LockTakenForValue "a lock is taken for a value",
        EnvelopeKept "a value is not taken out of its envelope",
        WaiterAfterRead "an invalidation between read and wait is not seen",
        LeaderWithoutHandover "nobody takes over when a loading caller leaves",
        FollowersForgotten "those who joined a failed load hear nothing",
        OutdatedShared "a value whose lock was lost is given to those who came later",
        SuccessorTakenForLoader "who takes over a publish is told that it loaded",
        OwnWriteJoinsLoad "a read after a write of the process joins a load from before it",
        SingleFlightLost "two calls of a process load one key at once",
        DoneTwice "a call is told its outcome twice",
        ReplySlotDroppedOnTimeout "a command that is overdue gives up its place among the replies",
        ReplySlotDroppedOnCancel "a call that is dropped gives up its place among the replies",
        PushTakenForReply "a push takes the place of a reply",
        RetryOfAnything "a write whose answer was lost is sent again",
        RefusedForgotten "a command that was refused for the moment is never tried again",
        OverdueByFrontOnly "only the oldest command in the pipeline can be overdue",
        OverdueNever "no command is ever overdue",
        HandshakeNotGated "commands do not wait for the handshake",
        SilenceTolerated "a silent connection is never given up",
        ExtraKeyStored "a key that a loader was not asked for is stored",
        MissingKeyForgotten "a key that a loader left out is never answered",
        CrossedAnswers "a batch answers its last two keys with each other's value",
        LockNotRenewed "a lock expires under a load that takes long",
        OldValueDropped "a write that failed deletes what it had replaced",
        OldValueForEver "a write that failed puts back its old value for good",
        OldValueRejuvenated "a write that failed gives its old value all the time that it had at first",
        RestoreAgesInQueue "a restore that waits for its connection gives back the time that it waited",
        WriteLockOverLocks "the lock of a write replaces the locks of others",
        WritersHoldAndWait "a batch of writes keeps its locks while it waits for another's",
        WritersOutOfTurn "two writes of a process lock a key at once",
        RepeatedLockTrusted "a lock that was asked for twice is good, though it may yet be taken once more",
        LostWriteSaysStored "a write whose lock was lost passes for one that was stored",
        LiveLockReleased "a read takes the lock of a write of its process for one left behind",
        DroppedWriteKeepsLock "a write that was dropped keeps its lock",
        KeptWriteIsPublished "a write that has nothing to store is published all the same",
        LostNodeWakesNobody "a lost connection wakes nobody",
        AskChangesMap "ASK is taken for MOVED",
        NotFoundSurvivesMove "a key cached as not found survives the move of its slot",
        MovedKeepsNear "MOVED leaves the near entries of its slot",
        RedirectsUnbounded "a command is sent on from node to node for ever",
        OlderMapTrusted "an older map of the cluster replaces a newer one",
        PastNearAsksNear "a call past the near cache is answered by it",
        ReloadJoinsLoad "a reload joins a load that began before it",
        OverruledReleased "a reload deletes what a load before it had replaced",
        OverruledForgotten "who waits when a reload begins is not woken",
        StaleAfterNews "a copy whose change was reported is given as an outdated one",
        DeadlineIgnored "a call goes on when its deadline is over",
        RefreshWithoutCompare "a refresh stores over whatever is there",
        RefreshWithoutLock "a refresh does not ask for its lock",
        RefreshRecheckSkipped "a refresh does not look whether another has been faster",
        RefreshCostsWorker "a refresh that panics costs a worker",
        BusyHandshakeAccepted "a server that is busy in the handshake is used untracked",
    }

    impl Mutant {
        /// Whether it takes a cluster to be seen.
        pub fn is_of_cluster(self) -> bool {
            match self {
                Self::AskChangesMap
                | Self::NotFoundSurvivesMove
                | Self::MovedKeepsNear
                | Self::RedirectsUnbounded
                | Self::OlderMapTrusted => true,
                _ => false,
            }
        }

        /// Switches this bug on, and every other off.
        pub fn switch_on(self) {
            ON.store(self as usize + 1, Ordering::SeqCst);
        }

        /// Switches every bug off.
        pub fn switch_off() {
            ON.store(0, Ordering::SeqCst);
        }

        pub(crate) fn is_on(self) -> bool {
            ON.load(Ordering::Relaxed) == self as usize + 1
        }
    }
}

#[cfg(redcache_mutants)]
pub use switch::Mutant;
