//! Runs of registered loaders in the background.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redcache_adapter::{Refresh, RefreshRun};
use redcache_core::CallOptions;
use redcache_core::engine::LoaderId;

use crate::call;
use crate::shared::{Loader, Shared};

/// Run a registered loader once, for all keys that wait for it.
pub(crate) fn run(shared: &Shared, id: LoaderId, loader: &Loader) {
    let _run = RefreshRun::new(shared, id);
    // The application's panic hook has reported a panic, and the engine learns of it when the call
    // is dropped.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        call::run_with(shared, CallOptions::new(), Refresh::new(id), |keys| loader(keys))
    }));
}
