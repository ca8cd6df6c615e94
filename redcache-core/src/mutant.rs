//! Deliberate bugs, which prove that the simulator finds such bugs.
//!
//! Each is a mistake that another project made, or that this one could make. They exist only in
//! builds with `--cfg redcache_mutants`, which `simulate --mutants` makes for itself. Everywhere
//! else `mutant!` is the constant `false`.

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

    /// Zero without a bug, otherwise the bug's index in [`Mutant::ALL`] plus one.
    static ON: AtomicUsize = AtomicUsize::new(0);

    macro_rules! mutants {
        ($($name:ident $description:literal,)*) => {
            /// A deliberate bug.
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Mutant {
                $(#[doc = $description] $name,)*
            }

            impl Mutant {
                /// Every bug.
                pub const ALL: &'static [Self] = &[$(Self::$name,)*];

                /// Return the bug's name.
                pub fn name(self) -> &'static str {
                    match self { $(Self::$name => stringify!($name),)* }
                }

                /// Return a description of the fault.
                pub fn description(self) -> &'static str {
                    match self { $(Self::$name => $description,)* }
                }
            }
        };
    }

    mutants! {
        NearFilledByCaller "the near cache ignores an invalidation behind an unread outcome",
        FlushIgnoredByNear "a flush leaves the near cache unchanged",
        FlushIgnoredByWaiters "a flush wakes no waiter",
        PushIgnoredByWaiters "an invalidation wakes no waiter",
        EpochKeptOnReconnect "a lost connection leaves the near cache unchanged",
        OwnWriteKeepsNear "a write of the process leaves its near entry",
        EchoSwallowsInvalidation "any invalidation of a written key is taken for its echo",
        PttlIgnored "a near entry outlives the ttl of its key",
        LockSeenUntracked "a caller waits for a lock that it has seen by an untracked read",
        UntrackingRefusalForReply "a refused `CLIENT CACHING` is taken for the reply to its batch",
        KeptReadUntracked "reads whose values are kept near are not tracked",
        UnknownTtlKept "a value that was read without its ttl is kept near",
        HeldOutOfTurn "an answer that is whole early goes to an earlier command of its batch",
        NearDeadlineIgnored "a near entry is served after its deadline",
        UntrackedTrusted "a connection without tracking counts as tracked",
        InvalidatedReadKept "a value that was invalidated within its reply is kept",
        PublishWithoutCompare "a loaded value is stored whatever the key holds",
        ReleaseByDelete "a lock is released by DEL",
        LockForEver "a lock has the longest possible ttl",
        LockOverAnything "a lock replaces whatever the key holds",
        LockReused "two acquisitions share one lock",
        LockKeptOnFailure "a failed load keeps its lock",
        QuestionableKeepsLock "a connection that is about to be left releases no lock",
        UnwantedLockKept "a lock whose sender has ended is kept",
        LockTakenForValue "a lock is taken for a value",
        EnvelopeKept "a value is not taken out of its envelope",
        WaiterAfterRead "an invalidation between a read and the wait after it is ignored",
        LoadNotPassedOn "no follower takes over a load that does not begin or does not end",
        LeaderWithoutHandover "no follower takes over when the loading caller leaves",
        FollowersForgotten "the followers of a failed load get no answer",
        UnstoredShared "a value that was not stored answers later callers",
        CutOffShared "a value whose publication had no reply answers later callers",
        OutdatedShared "a value whose lock was lost answers later callers",
        SuccessorTakenForLoader "the successor of a publishing caller is told that it loaded",
        OwnWriteJoinsLoad "a read after a write of the process joins a load from before it",
        SingleFlightLost "two calls of a process load one key at the same time",
        DoneTwice "a call gets its outcome twice",
        ReplySlotDroppedOnTimeout "an overdue command gives up its place among the replies",
        ReplySlotDroppedOnCancel "a cancelled call gives up its place among the replies",
        PushTakenForReply "a push takes the place of a reply",
        RetryOfAnything "a write whose reply was lost is sent again",
        RefusedForgotten "a command with a transient refusal is never tried again",
        OverdueByFrontOnly "only the oldest command in the pipeline can be overdue",
        OverdueNever "no command is ever overdue",
        HandshakeNotGated "commands do not wait for the handshake",
        SilenceTolerated "a silent connection is never given up",
        PushTakenForLife "a connection whose commands go unanswered lives on pushes",
        ExtraKeyStored "a key that was not requested from the loader is stored",
        MissingKeyForgotten "a key that the loader left out is never answered",
        CrossedAnswers "a batch swaps the answers of its last two keys",
        LockNotRenewed "a lock expires during a long load",
        OldValueDropped "a failed write deletes the value that it replaced",
        OldValueForEver "a failed write restores the old value without expiry",
        OldValueRejuvenated "a failed write restores the old value with its original ttl",
        WaitExtendsTtl "a command that waits for a connection extends the ttl by its wait",
        EndedValueWritten "a value whose ttl ended while it waited is written for one more ms",
        WriteLockOverLocks "the lock of a write replaces the locks of others",
        WritersHoldAndWait "a batch of writes keeps its locks while it waits for another's",
        WritersOutOfTurn "two writes of a process lock a key at the same time",
        RepeatedLockTrusted "the lock of an attempt that was sent twice is trusted",
        LostWriteSaysStored "a write that lost its lock reports success",
        LiveLockReleased "a read releases the lock of a write of its process",
        DroppedWriteKeepsLock "a cancelled write keeps its lock",
        KeptWriteIsPublished "a write with nothing to store is published",
        CommitsUnlocked "a change commits although a key could not be locked",
        RemovedBeforeCommit "a change removes its keys when its commit begins",
        FailedCommitPutsBack "a change whose commit fails restores the old values",
        CutOffPutsBack "a change whose commit is cut off restores the old values",
        CutOffLockUnused "the lock of a commit that was cut off counts as unused",
        CommitTimesOut "a change gives its locks up while its commit runs",
        ChangedKeyKept "a change does not remove its keys",
        CommitDisowned "a change whose deadline passes after its commit fails",
        LostNodeWakesNobody "a lost connection wakes no waiter",
        AskChangesMap "ASK is taken for MOVED",
        NotFoundSurvivesMove "a key cached as not found survives the move of its slot",
        MovedKeepsNear "MOVED leaves the near entries of its slot",
        RedirectsUnbounded "a command is redirected without limit",
        PartialMapTrusted "a node's map of the cluster takes slots from their known owners",
        PartialShardsTrusted "CLUSTER SHARDS is believed to name every slot",
        OlderMapTrusted "an older map of the cluster replaces a newer one",
        PastNearAsksNear "a call past the near cache is answered by it",
        ReloadJoinsLoad "a reload joins a load that began before it",
        SupersededReleased "a reload deletes the value that an earlier reload replaced",
        SupersededForgotten "callers that wait when a reload begins are not woken",
        StaleAfterInvalidation "an invalidated near entry answers as an outdated one",
        StaleAfterNearLimit "an entry ended by `near_ttl_max` survives an invalidation as a stale one",
        DeadlineIgnored "a call ignores its timeout",
        RefreshWithoutCompare "a refresh replaces a changed value",
        WritesUnstamped "two writes of one payload are stored as the same bytes",
        RefreshWithoutLock "a refresh takes no lock",
        RefreshRecheckSkipped "a refresh replaces the value of a faster one",
        RefreshCostsWorker "a panic of a refresh costs a worker",
        CredentialsNotRenewed "credentials that expire are never renewed",
        CredentialsMisdirected "an answer of the credentials provider is used on another connection",
        KeptRemovalDropped "a removal that failed for want of Redis is never repeated",
        KeptRemovalOutlived "a kept removal is repeated after a newer write of its process",
        RoundTripIgnored "a lock expires within the round trip of its load",
        SuspectsInCompany "commands of lost connections are sent again side by side",
        BoundFromArrival "the bound of a connection counts from the arrival of a reply",
        BoundOfOtherNode "the bound of an entry is that of the connection with the newest one",
        BoundOfNextConnection "the handshake of the next connection raises the bound of the last one",
        StaleAnswersUnbounded "a stale answer ignores `max_staleness`",
        JoinsUnbounded "a call with `max_staleness` is answered by a fetch that began too early",
        BareIntroduced "a server that hangs up at HELLO is sent CLIENT SETINFO",
        OversizedMalformed "a reply over the limit of values ends its connection as malformed",
        OversizedLockMalformed "a lock over the limit of values ends the connection of a writer",
        UnansweredUnbounded "a connection takes commands without limit while the server reads none",
        FullRefused "a command beyond the limit of unanswered bytes is refused",
        HelloVerifiedOnce "a server that has hung up at HELLO three times is never asked for it again",
        SwitchIgnored "a switch that a sentinel publishes is ignored",
        RoleUnchecked "a server that a sentinel names is used although it is a replica",
        OldConnectionKept "the connection to a primary that was replaced is kept until it is lost",
        SentinelRenewalDropped "renewed credentials of a sentinel are not sent",
        SentinelSharesLogin "the password of the servers is sent to sentinels",
        PublicationNotReadBack "a published value that the server does not track is kept",
        NativeRefusalStands "a server's refusal of a command that stands for a script is final",
        BusyHandshakeAccepted "a server that is busy in the handshake is used untracked",
        LargeKeyEntersEarly "a key changes to the large link while it has commands on the other",
        LargeKeyLeavesEarly "a key leaves the large link while it has commands there",
        ReleaseLeftBehind "a release that had to wait goes over the link that its key has left",
        LargeBoundIgnored "the bound of entries from a large link is that of the other link",
        LargeKeyForgotten "the near entry of a key that has left the large link outlives the link",
        LargeLossKeepsNear "the loss of a large link leaves the near entries from it",
        TornValueKept "a value that changes while it is read in pieces is put together",
        FilledBytesLost "the bytes that an adapter has filled into a value are lost",
        ExpiredValueKept "a value that expires while it is read in pieces is cut short",
        LargeLossWakesNobody "the loss of a large link wakes no waiter",
        GenerationReused "a clear writes a generation that the namespace has had before",
        LostGenerationRevived "a lost generation is replaced by the last that the process found",
        GenerationUntracked "a process keeps to the generation that it found first",
        GenerationUnbounded "the lookup of a generation ignores `max_staleness`",
        WriteUnconfirmed "a write during a clear leaves the values under the next generation",
        KeptRemovalOfOldGeneration "a kept removal leaves the values under the next generation",
        FailedLookupForgotten "a write that cannot look up its generation is not followed by a removal",
    }

    impl Mutant {
        /// Return whether only a cluster shows the bug.
        pub fn is_of_cluster(self) -> bool {
            match self {
                Self::AskChangesMap
                | Self::NotFoundSurvivesMove
                | Self::MovedKeepsNear
                | Self::RedirectsUnbounded
                | Self::PartialMapTrusted
                | Self::PartialShardsTrusted
                | Self::OlderMapTrusted
                | Self::BoundOfOtherNode => true,
                _ => false,
            }
        }

        /// Return whether only a group under Redis Sentinel shows the bug.
        pub fn is_of_sentinels(self) -> bool {
            (Self::SwitchIgnored as usize..=Self::SentinelSharesLogin as usize)
                .contains(&(self as usize))
        }

        /// Return whether a group under Redis Sentinel shows the bug, too.
        pub fn is_of_sentinels_too(self) -> bool {
            self == Self::CredentialsNotRenewed
        }

        /// Return whether only a world with a large link shows the bug.
        pub fn is_of_large(self) -> bool {
            (Self::LargeKeyEntersEarly as usize..=Self::LargeLossWakesNobody as usize)
                .contains(&(self as usize))
        }

        /// Return whether only a namespace that is cleared shows the bug.
        pub fn is_of_namespaces(self) -> bool {
            self as usize >= Self::GenerationReused as usize
        }

        /// Switch this bug on and every other off.
        pub fn switch_on(self) {
            ON.store(self as usize + 1, Ordering::SeqCst);
        }

        /// Switch every bug off.
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
