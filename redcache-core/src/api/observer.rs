//! The observer of a cache, which counts, measures and logs.

mod events;
pub(crate) mod observe;
pub(crate) mod shared;

pub use events::{
    AnswerEvent, AuditDifferenceEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent,
    FailureEvent, FlushEvent, InvalidationEvent, LoadEvent, LockExtendedEvent, LockLostEvent,
    LockWaitEvent, NotStoredEvent, RefreshEvent, RefreshStage, RemovalEvent, RemovalStage,
    RoundTripEvent, UndecodableEvent, UntrackedEvent,
};
pub(crate) use observe::Observation;
pub use observe::Observer;
pub(crate) use shared::SharedObserver;
