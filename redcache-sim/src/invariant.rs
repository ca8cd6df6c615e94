//! The invariants of a simulated world.

/// A property that must hold after every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`description` documents each variant")]
pub enum Invariant {
    Pairing,
    CancelNeutrality,
    WholeFrames,
    GatedHandshake,
    Completion,
    SafeRetry,
    Heartbeat,
    NoErrorWithoutCause,
    Tracked,
    BoundedStaleness,
    FreshAsOf,
    StalenessMax,
    Audit,
    OwnWrites,
    Monotonic,
    Lifetime,
    TtlKnown,
    NearBytes,
    FailClosed,
    PublishOwn,
    UniqueTokens,
    ReleaseOwn,
    LockTtl,
    LockOutlivesTrip,
    LockOverNothing,
    DeleteBeatsLoad,
    WakeUp,
    Orphans,
    IdleLock,
    Renewed,
    PutBack,
    WaitWithinTtl,
    StoredIsReported,
    Turns,
    CommitFenced,
    FenceKept,
    CommitSeen,
    CommitReported,
    Accounting,
    SingleFlight,
    LoadedIsReturned,
    FailureIsShared,
    JoinedInTime,
    HangUpAlone,
    OversizedAlone,
    Unanswered,
    WaitsForRoom,
    WholeLoadTime,
    RemovalRepeated,
    RemovalReplaced,
    ForeignLock,
    Opaque,
    BatchExact,
    PastNear,
    Reloaded,
    Deadline,
    StaleForError,
    StaleForWait,
    RefreshOver,
    RefreshLock,
    RefreshOnce,
    RefreshDue,
    RefreshWorkers,
    Liveness,
    Rest,
    Reread,
    OwnLogin,
    Renewal,
    FreshLogin,
    LoginsBounded,
    OneLink,
    EndsWithLink,
    RedirectsBounded,
    AskingFirst,
    ByTheMap,
    OwnerKeepsNear,
    NamedPrimary,
    SwitchFollowed,
    LoginOfItsKind,
    LoginSent,
    Cleared,
    LoadBeforeClear,
    CommitAcrossClear,
}

impl Invariant {
    /// Every invariant.
    pub const ALL: [Self; 83] = [
        Self::Pairing,
        Self::CancelNeutrality,
        Self::WholeFrames,
        Self::GatedHandshake,
        Self::Completion,
        Self::SafeRetry,
        Self::Heartbeat,
        Self::NoErrorWithoutCause,
        Self::Tracked,
        Self::BoundedStaleness,
        Self::FreshAsOf,
        Self::StalenessMax,
        Self::Audit,
        Self::OwnWrites,
        Self::Monotonic,
        Self::Lifetime,
        Self::TtlKnown,
        Self::NearBytes,
        Self::FailClosed,
        Self::PublishOwn,
        Self::UniqueTokens,
        Self::ReleaseOwn,
        Self::LockTtl,
        Self::LockOutlivesTrip,
        Self::LockOverNothing,
        Self::DeleteBeatsLoad,
        Self::WakeUp,
        Self::Orphans,
        Self::IdleLock,
        Self::Renewed,
        Self::PutBack,
        Self::WaitWithinTtl,
        Self::StoredIsReported,
        Self::Turns,
        Self::CommitFenced,
        Self::FenceKept,
        Self::CommitSeen,
        Self::CommitReported,
        Self::Accounting,
        Self::SingleFlight,
        Self::LoadedIsReturned,
        Self::FailureIsShared,
        Self::JoinedInTime,
        Self::HangUpAlone,
        Self::OversizedAlone,
        Self::Unanswered,
        Self::WaitsForRoom,
        Self::WholeLoadTime,
        Self::RemovalRepeated,
        Self::RemovalReplaced,
        Self::ForeignLock,
        Self::Opaque,
        Self::BatchExact,
        Self::PastNear,
        Self::Reloaded,
        Self::Deadline,
        Self::StaleForError,
        Self::StaleForWait,
        Self::RefreshOver,
        Self::RefreshLock,
        Self::RefreshOnce,
        Self::RefreshDue,
        Self::RefreshWorkers,
        Self::Liveness,
        Self::Rest,
        Self::Reread,
        Self::OwnLogin,
        Self::Renewal,
        Self::FreshLogin,
        Self::LoginsBounded,
        Self::OneLink,
        Self::EndsWithLink,
        Self::RedirectsBounded,
        Self::AskingFirst,
        Self::ByTheMap,
        Self::OwnerKeepsNear,
        Self::NamedPrimary,
        Self::SwitchFollowed,
        Self::LoginOfItsKind,
        Self::LoginSent,
        Self::Cleared,
        Self::LoadBeforeClear,
        Self::CommitAcrossClear,
    ];

    /// Return whether the invariant concerns clusters only.
    pub fn is_of_cluster(self) -> bool {
        (Self::RedirectsBounded as usize..=Self::OwnerKeepsNear as usize).contains(&(self as usize))
    }

    /// Return whether the invariant is checked in groups under Redis Sentinel.
    pub fn is_of_sentinels(self) -> bool {
        self.is_of_sentinels_only()
            || matches!(
                self,
                Self::Completion
                    | Self::Tracked
                    | Self::FailClosed
                    | Self::Liveness
                    | Self::Rest
                    | Self::OwnLogin
                    | Self::Renewal
                    | Self::FreshLogin
                    | Self::LoginsBounded
            )
    }

    /// Return whether the invariant is checked only in groups under Redis Sentinel.
    pub fn is_of_sentinels_only(self) -> bool {
        (Self::NamedPrimary as usize..=Self::LoginSent as usize).contains(&(self as usize))
    }

    /// Return whether the invariant is checked in namespaces that are cleared.
    pub fn is_of_namespaces(self) -> bool {
        self.is_of_namespaces_only()
            || matches!(
                self,
                Self::Completion | Self::NoErrorWithoutCause | Self::Liveness | Self::Rest
            )
    }

    /// Return whether the invariant is checked only in namespaces that are cleared.
    pub fn is_of_namespaces_only(self) -> bool {
        self as usize >= Self::Cleared as usize
    }

    /// Return whether the invariant concerns large values with a connection of their own.
    pub fn is_of_large(self) -> bool {
        matches!(self, Self::OneLink | Self::EndsWithLink)
    }

    /// Return whether the invariant concerns stale answers.
    pub fn is_of_stale(self) -> bool {
        matches!(self, Self::StaleForError | Self::StaleForWait)
    }

    /// Return whether the invariant is checked with a single server only.
    pub fn is_of_one_server(self) -> bool {
        let refreshes = Self::StaleForError as usize..=Self::RefreshWorkers as usize;
        matches!(
            self,
            Self::HangUpAlone
                | Self::OversizedAlone
                | Self::Unanswered
                | Self::WaitsForRoom
                | Self::JoinedInTime
                | Self::LockOutlivesTrip
                | Self::RemovalRepeated
        ) || refreshes.contains(&(self as usize))
    }

    /// Return a description of the required property.
    #[expect(clippy::too_many_lines, reason = "a line for each invariant")]
    pub fn description(self) -> &'static str {
        match self {
            Self::Pairing => "an answer belongs to the requested key",
            Self::CancelNeutrality => "no event names a dropped call",
            Self::WholeFrames => "only whole commands are sent",
            Self::GatedHandshake => "no command is sent before the handshake is complete",
            Self::Completion => "a call ends exactly once, and by its deadline",
            Self::SafeRetry => "a write is executed at most as often as it was requested",
            Self::Heartbeat => "a silent connection is given up in time",
            Self::NoErrorWithoutCause => "nothing fails without a fault",
            Self::Tracked => "a near entry is tracked, or its invalidation is on its way",
            Self::BoundedStaleness => {
                "an answer was true at the call or within the staleness bound"
            }
            Self::FreshAsOf => "no answer is older than it says",
            Self::StalenessMax => "no answer is older than its limits",
            Self::Audit => "no near hit differs from the server when it is checked",
            Self::OwnWrites => "a process reads its own writes or something later",
            Self::Monotonic => "a process reads no older value after a newer one",
            Self::Lifetime => "a near entry does not outlive its key",
            Self::TtlKnown => "the ttl of a near entry was read or set with its value",
            Self::NearBytes => "the near cache stays within its byte limit",
            Self::FailClosed => "the near cache is empty without tracking",
            Self::PublishOwn => "only the holder of the lock publishes, and only its own load",
            Self::UniqueTokens => "no two acquisitions share a lock token",
            Self::ReleaseOwn => "only the holder of a lock releases or renews it",
            Self::LockTtl => "a lock always expires, within the configured TTL",
            Self::LockOutlivesTrip => "a lock outlives several round trips once they are measured",
            Self::LockOverNothing => "a read lock replaces no value, and no lock replaces a lock",
            Self::DeleteBeatsLoad => "a load that started before a write is not stored after it",
            Self::WakeUp => "a waiting call is woken when its key changes",
            Self::Orphans => "a lock is released once no call needs it",
            Self::IdleLock => "a write holds no lock while it waits for another",
            Self::Renewed => "a lock lives as long as its load runs",
            Self::PutBack => {
                "a write that stores nothing puts back the old value with its remaining TTL"
            }
            Self::WaitWithinTtl => "the wait of a command does not extend the TTL that it sets",
            Self::StoredIsReported => "a write reports success if and only if it stored its value",
            Self::Turns => "a process writes a key once at a time",
            Self::CommitFenced => "a change commits under every lock that it has not lost",
            Self::FenceKept => "a change that commits keeps its locks and restores no value",
            Self::CommitSeen => "no value from before a commit is stored or read after it",
            Self::CommitReported => "a change reports the end of its commit",
            Self::Accounting => "in an undisturbed world, each load has a lock of its own",
            Self::SingleFlight => "a process loads a key once at a time",
            Self::LoadedIsReturned => "a caller gets what its loader returned",
            Self::FailureIsShared => "a failed load fails the calls that joined it with its error",
            Self::JoinedInTime => {
                "a call joins no load that began before an acknowledged write, unless it is stored"
            }
            Self::HangUpAlone => {
                "commands on which the server hangs up fail no read and no load of other keys"
            }
            Self::OversizedAlone => "a reply over the limit of values fails its readers only",
            Self::Unanswered => "the unanswered commands of a connection have a limit in bytes",
            Self::WaitsForRoom => "a command waits for room on its connection and does not fail",
            Self::WholeLoadTime => "a read fails with LoadTimeout only after a whole load timeout",
            Self::RemovalRepeated => "no value outlives a failed removal once Redis replies",
            Self::RemovalReplaced => "a newer write of the process ends a failed removal",
            Self::ForeignLock => "a lock without a live holder delays for a bounded time",
            Self::Opaque => "a value is returned byte for byte",
            Self::BatchExact => "a batch stores the requested keys and nothing else",
            Self::PastNear => "a call that skips the near cache is not answered by it",
            Self::Reloaded => "a reload is answered with a value loaded after the call",
            Self::Deadline => {
                "a call with a deadline fails once the deadline has passed, and not before"
            }
            Self::StaleForError => "a stale value replaces an error only within its limits",
            Self::StaleForWait => "a stale value replaces a wait only within its limits",
            Self::RefreshOver => "a refresh replaces exactly the bytes it has read",
            Self::RefreshLock => {
                "a refresh lock expires in time and is only taken, renewed and released"
            }
            Self::RefreshOnce => "a key is refreshed under its lock, by one process at a time",
            Self::RefreshDue => "a value that another process has refreshed is not refreshed again",
            Self::RefreshWorkers => "no refresh loses a worker or blocks a key",
            Self::Liveness => "after the faults, calls succeed in bounded time",
            Self::Rest => "nothing is left at the end",
            Self::Reread => {
                "a call that waited when a connection was lost reads again on the next one"
            }
            Self::OwnLogin => "a connection logs in with the answer to its own question",
            Self::Renewal => "a connection asks for new credentials before the old ones expire",
            Self::FreshLogin => "a connection logs in with credentials that have not expired",
            Self::LoginsBounded => "a credentials provider is asked a bounded number of times",
            Self::OneLink => "the commands of a key are on one connection at a time",
            Self::EndsWithLink => "a near entry ends with the connection that it came from",
            Self::RedirectsBounded => "a command follows a bounded number of redirects",
            Self::AskingFirst => "ASKING precedes exactly the command that an ASK redirected",
            Self::ByTheMap => "commands follow MOVED and the newest slot map, and ASK only once",
            Self::OwnerKeepsNear => {
                "near entries of a slot end with its owner, as far as the process was told"
            }
            Self::NamedPrimary => {
                "commands go only to a primary, and only to the one that a sentinel has named last"
            }
            Self::LoginSent => "credentials that a provider returns in time are sent at once",
            Self::LoginOfItsKind => "servers receive their own login only, and sentinels theirs",
            Self::SwitchFollowed => "a process leaves a server once a sentinel names another",
            Self::Cleared => "no process serves a value from before a clear later than one push",
            Self::LoadBeforeClear => "a load that began before a clear is not visible after it",
            Self::CommitAcrossClear => "no value from before a removal is visible after a clear",
        }
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// A description of the violation.
    pub text: String,
}

pub(crate) type Checked = Result<(), Violation>;

impl Invariant {
    /// Return an error with `text` unless `condition` holds.
    pub(crate) fn holds(self, condition: bool, text: impl FnOnce() -> String) -> Checked {
        if condition { Ok(()) } else { Err(self.broken(text())) }
    }

    pub(crate) fn broken(self, text: impl Into<String>) -> Violation {
        Violation { invariant: self, text: text.into() }
    }
}
