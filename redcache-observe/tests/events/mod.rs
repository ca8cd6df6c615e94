//! One event of each kind, and of each outcome.

use std::time::Duration;

use redcache_core::observer::{
    AnswerEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent, FailureEvent, FlushEvent,
    InvalidationEvent, LoadEvent, LockExtendedEvent, LockLostEvent, LockWaitEvent, NotStoredEvent,
    Observer, RefreshEvent, RefreshStage, RemovalEvent, RemovalStage, RoundTripEvent,
    UntrackedEvent,
};
use redcache_core::{Address, Error, ErrorKind, Key, Source};

const TOOK: Duration = Duration::from_millis(1500);

/// Send an observer each event.
pub(crate) fn each(observer: &dyn Observer) {
    let address = || Address::Tcp { host: "h".to_owned(), port: 1 };
    let key = || Key::from("k");
    observer.on_answer(&AnswerEvent::new(Source::Near));
    observer.on_answer(&AnswerEvent::new(Source::Stale));
    observer.on_failure(&FailureEvent::new(ErrorKind::Timeout, Some(key())));
    observer.on_failure(&FailureEvent::new(ErrorKind::LoadFailed, None));
    observer.on_load(&LoadEvent::new(3, TOOK, true));
    observer.on_load(&LoadEvent::new(1, TOOK, false));
    observer.on_lock_wait(&LockWaitEvent::new(TOOK));
    observer.on_round_trip(&RoundTripEvent::new("read", TOOK));
    observer.on_lock_lost(&LockLostEvent::new(key()));
    observer.on_lock_extended(&LockExtendedEvent::new(TOOK, TOOK));
    observer.on_not_stored(&NotStoredEvent::new(key(), "too large".to_owned()));
    observer.on_refresh(&RefreshEvent::new(key(), RefreshStage::Triggered));
    observer.on_refresh(&RefreshEvent::new(key(), RefreshStage::Panicked));
    observer.on_removal(&RemovalEvent::new(key(), RemovalStage::Kept));
    observer.on_removal(&RemovalEvent::new(key(), RemovalStage::Repeated));
    observer.on_invalidation(&InvalidationEvent::new(2));
    observer.on_flush(&FlushEvent::default());
    observer.on_connected(&ConnectedEvent::new(address()));
    observer.on_untracked(&UntrackedEvent::new(address(), "no RESP3".to_owned()));
    observer.on_disconnected(&DisconnectedEvent::new(address(), Error::closed()));
    observer.on_connect_failed(&ConnectFailedEvent::new(Some(address()), Error::closed()));
    observer.on_connect_failed(&ConnectFailedEvent::new(None, Error::closed()));
}
