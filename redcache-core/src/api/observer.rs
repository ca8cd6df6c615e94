//! The observer of a cache, which counts, measures and logs.

mod events;
mod observe;
mod shared;

pub use events::{
    AnswerEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent, FailureEvent, FlushEvent,
    InvalidationEvent, LoadEvent, LockLostEvent, LockWaitEvent, NotStoredEvent, RefreshEvent,
    RefreshStage, RoundTripEvent, UntrackedEvent,
};
pub use observe::{Observation, Observer};
pub use shared::SharedObserver;
