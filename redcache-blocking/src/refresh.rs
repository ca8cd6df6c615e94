//! Runs of registered loaders in the background.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redcache_adapter::Refresh;
use redcache_core::CallOptions;
use redcache_core::engine::LoaderId;

use crate::call;
use crate::shared::{Loader, Shared};

/// Run a registered loader once, for all keys that wait for it.
pub(crate) fn run(shared: &Shared, id: LoaderId, loader: &Loader) {
    let _over = Over { shared, id };
    // The application's panic hook has reported a panic, and the engine learns of it when the call
    // is dropped.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        call::run_with(shared, CallOptions::new(), Refresh::new(id), |keys| loader(keys))
    }));
}

/// Reports the end of a run.
struct Over<'a> {
    shared: &'a Shared,
    id: LoaderId,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.shared.step(|state, now| state.host.engine.handle_refresh_over(now, self.id));
    }
}
