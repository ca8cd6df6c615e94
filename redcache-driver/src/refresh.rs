//! Runs of registered loaders in the background.

use std::convert::identity;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use redcache_adapter::{Refresh, RefreshRun};
use redcache_core::CallOptions;
use redcache_core::engine::LoaderId;

use crate::call;
use crate::shared::{Loader, Shared};

/// Run a registered loader once, for all keys that wait for it.
pub(crate) async fn run(shared: &Shared, id: LoaderId, loader: Loader) {
    let run_ends = RefreshRun::new(shared, id);
    let load = |keys| Some(loader(keys));
    let run = call::run_with(shared, CallOptions::new(), Refresh::new(id), load, identity);
    let mut run = pin!(run);
    // The application's panic hook has reported a panic, and the engine learns of it when the call
    // is dropped.
    poll_fn(|cx| {
        let poll = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx)));
        poll.map_or(Poll::Ready(()), |poll| poll.map(drop))
    })
    .await;
    drop(run_ends);
}
