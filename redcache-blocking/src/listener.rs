//! The thread of the application's listener: one per cache, so that a listener that is slow, panics
//! or calls the cache delays no other thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redcache_core::Notice;

use crate::shared::{Listener, Shared};

/// Start the listener's thread. It ends once the cache is closed. `close` does not wait for it,
/// because a listener may take any time.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    shared.spawn("redcache-notice", run).map(drop)
}

/// Replace the listener.
pub(crate) fn listen(shared: &Shared, listener: Listener) {
    let mut state = shared.lock();
    if state.host.is_closed() {
        return;
    }
    let replaced = state.listener.replace(listener);
    drop(state);
    // The listener may own a handle of this cache, so it is not dropped under the lock.
    drop(replaced);
    shared.notify_news();
}

fn run(shared: &Arc<Shared>) {
    while let Some((notice, listener)) = next_notice(shared) {
        // The application's panic hook has reported a panic.
        let _ = catch_unwind(AssertUnwindSafe(|| listener(&notice)));
    }
}

/// Wait for the next notice and return it with the listener. Return `None` once there are no more.
fn next_notice(shared: &Shared) -> Option<(Notice, Listener)> {
    let mut state = shared.wait_while(|state| {
        !state.host.is_closed() && (state.listener.is_none() || !state.host.has_notice())
    });
    let notice = state.host.next_notice();
    let listener = match notice {
        Some(_) => state.listener.clone(),
        None => state.listener.take(),
    };
    drop(state);
    notice.zip(listener)
}
