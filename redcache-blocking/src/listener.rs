//! One thread per cache for the application's listener, so that a listener which is slow, panics or calls the cache
//! harms nobody.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redcache_core::Notice;

use crate::shared::Shared;

pub(crate) type Listener = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Starts the listener's thread. It ends after the cache is closed, and nobody waits for it, since nobody knows how
/// long a listener takes.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    shared.spawn("redcache-notice", run).map(drop)
}

/// Replaces the listener.
pub(crate) fn listen(shared: &Shared, listener: Listener) {
    let mut state = shared.lock();
    if state.closed {
        return;
    }
    let replaced = state.listener.replace(listener);
    drop(state);
    // It may own a handle of this very cache, so it is not dropped under the lock.
    drop(replaced);
    shared.tell_news();
}

fn run(shared: &Arc<Shared>) {
    while let Some((notice, listener)) = next_notice(shared) {
        // A panic has been reported by the application's own hook.
        let _ = catch_unwind(AssertUnwindSafe(|| listener(&notice)));
    }
}

/// Waits for the next notice and whom to tell; `None` once there are no more.
fn next_notice(shared: &Shared) -> Option<(Notice, Listener)> {
    let mut state = shared.wait_while(|state| {
        !state.closed && (state.listener.is_none() || state.notices.is_empty())
    });
    let notice = state.notices.pop_front();
    let listener = match notice {
        Some(_) => state.listener.clone(),
        None => state.listener.take(),
    };
    drop(state);
    notice.zip(listener)
}
