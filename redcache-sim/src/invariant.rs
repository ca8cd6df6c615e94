//! What must hold at every step of a simulated world, and what was found where it did not.
//!
//! The checks see both sides: what the engines say, and the server model's own state. So they need no guesses about
//! what a client could have known.

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each invariant description in `description` what it demands")]
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
    OwnWrites,
    Monotonic,
    Lifetime,
    NearBytes,
    FailClosed,
    PublishOwn,
    UniqueTokens,
    ReleaseOwn,
    LockTtl,
    LockOverNothing,
    DeleteBeatsLoad,
    WakeUp,
    Orphans,
    IdleLock,
    Renewed,
    PutBack,
    StoredIsReported,
    Turns,
    Accounting,
    SingleFlight,
    LoadedIsReturned,
    FailureIsShared,
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
    RedirectsBounded,
    AskingFirst,
    ByTheMap,
    OwnerKeepsNear,
}

impl Invariant {
    /// Every invariant.
    pub const ALL: [Self; 52] = [
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
        Self::OwnWrites,
        Self::Monotonic,
        Self::Lifetime,
        Self::NearBytes,
        Self::FailClosed,
        Self::PublishOwn,
        Self::UniqueTokens,
        Self::ReleaseOwn,
        Self::LockTtl,
        Self::LockOverNothing,
        Self::DeleteBeatsLoad,
        Self::WakeUp,
        Self::Orphans,
        Self::IdleLock,
        Self::Renewed,
        Self::PutBack,
        Self::StoredIsReported,
        Self::Turns,
        Self::Accounting,
        Self::SingleFlight,
        Self::LoadedIsReturned,
        Self::FailureIsShared,
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
        Self::RedirectsBounded,
        Self::AskingFirst,
        Self::ByTheMap,
        Self::OwnerKeepsNear,
    ];

    /// Says whether it is about clusters only.
    pub fn is_of_cluster(self) -> bool {
        self as usize >= Self::RedirectsBounded as usize
    }

    /// Says whether it is put to the test around one server only.
    pub fn is_of_one_server(self) -> bool {
        (Self::StaleForError as usize..=Self::RefreshWorkers as usize).contains(&(self as usize))
    }

    /// Says what it demands.
    pub fn description(self) -> &'static str {
        match self {
            Self::Pairing => "an answer belongs to the key that was asked for",
            Self::CancelNeutrality => "a call that was dropped is never heard of again",
            Self::WholeFrames => "what is sent is whole commands",
            Self::GatedHandshake => "nothing is said before the handshake's last word was answered",
            Self::Completion => "a call ends once, and by its deadline",
            Self::SafeRetry => "a write is executed no more often than it was asked for",
            Self::Heartbeat => "a silent connection is given up in time",
            Self::NoErrorWithoutCause => "nothing fails that nothing disturbed",
            Self::Tracked => "a near entry is tracked, or news of its end is under way",
            Self::BoundedStaleness => "an answer was true when it was asked for, or lately",
            Self::OwnWrites => "a process reads what it has written, or something later",
            Self::Monotonic => "a process does not see an older value after a newer one",
            Self::Lifetime => "a near entry does not outlive its key",
            Self::NearBytes => "the near cache keeps within its bytes",
            Self::FailClosed => "without tracking nothing is kept near",
            Self::PublishOwn => "only the holder of the lock publishes, and only its own load",
            Self::UniqueTokens => "no two acquisitions share a lock",
            Self::ReleaseOwn => "only the holder of a lock releases or renews it",
            Self::LockTtl => "a lock always expires, within the time set for it",
            Self::LockOverNothing => "a lock replaces nothing",
            Self::DeleteBeatsLoad => "what began to load before a write is not stored after it",
            Self::WakeUp => "who waits for a key is woken when it changes",
            Self::Orphans => "who wants a key no longer gives its lock back",
            Self::IdleLock => "a write holds no lock while it waits for another",
            Self::Renewed => "a lock lives on while its load does",
            Self::PutBack => {
                "a write that comes to nothing puts back what was there, with the time it had left"
            }
            Self::StoredIsReported => "a write that was stored is said to be, and no other is",
            Self::Turns => "a process writes a key once at a time",
            Self::Accounting => "undisturbed, every load has a lock of its own",
            Self::SingleFlight => "a process loads a key once at a time",
            Self::LoadedIsReturned => "what a loader gave is what its caller gets",
            Self::FailureIsShared => "a failed load fails those who joined it, with its own error",
            Self::ForeignLock => "a lock that nobody holds delays for a while and no longer",
            Self::Opaque => "a value comes back byte for byte",
            Self::BatchExact => "a batch stores what was asked for and nothing else",
            Self::PastNear => "who asks past the near cache is not answered by it",
            Self::Reloaded => "who reloads a key is given what was loaded after the call",
            Self::Deadline => "a call with a deadline fails once that is over, and not before",
            Self::StaleForError => "an outdated answer stands in for an error only where it may",
            Self::StaleForWait => "an outdated answer stands in for a wait only where it may",
            Self::RefreshOver => {
                "a refresh replaces the very bytes that it has read, and nothing else"
            }
            Self::RefreshLock => {
                "a refresh lock always expires in time, and is only taken, renewed and released"
            }
            Self::RefreshOnce => "a key is refreshed under its lock, by one process at a time",
            Self::RefreshDue => "what another has refreshed is not refreshed once more",
            Self::RefreshWorkers => "no refresh costs a worker or a key, whatever becomes of it",
            Self::Liveness => {
                "once the faults are over, calls promote_replica_if_due in bounded time"
            }
            Self::Rest => "at rest nothing is left behind",
            Self::Reread => "who waits when a connection is lost asks again on the next one",
            Self::RedirectsBounded => "a command is sent on from node to node only so often",
            Self::AskingFirst => {
                "ASKING stands before the very command that a node was to be asked with"
            }
            Self::ByTheMap => {
                "commands go where MOVED or the newest map description, not where ASK does"
            }
            Self::OwnerKeepsNear => "what is near of a slot ends with its owner, as far as known",
        }
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// How it was broken.
    pub text: String,
}

pub(crate) type Checked = Result<(), Violation>;

impl Invariant {
    /// Holds, or else is broken in the way that `text` tells.
    pub(crate) fn holds(self, condition: bool, text: impl FnOnce() -> String) -> Checked {
        if condition { Ok(()) } else { Err(self.broken(text())) }
    }

    pub(crate) fn broken(self, text: impl Into<String>) -> Violation {
        Violation { invariant: self, text: text.into() }
    }
}
