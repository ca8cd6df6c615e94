//! A service keeps its rows in a SQL database and reads them through redcache.
//!
//! ```sh
//! cargo run --example quickstart
//! REDIS_URL=redis://localhost:6379 cargo run --example quickstart
//! ```
//!
//! The steps are in `shared/tour.rs`; this file only chooses the runtime.

#![expect(clippy::print_stdout, reason = "an example is there to show something")]

use std::future::Future;
use std::panic::resume_unwind;

use redcache_tokio::{Answer, Cache, Key, LoadError, Source, connect};
use tokio::task::{JoinHandle, spawn_blocking, yield_now};

#[path = "shared/stage.rs"]
mod stage;
#[path = "shared/tour.rs"]
mod tour;

#[tokio::main]
async fn main() -> Result<(), stage::BoxError> {
    tour::run().await
}

/// Spawn a task on the runtime.
fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> {
    end(tokio::spawn(task))
}

/// Run blocking work on a thread that may block.
async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    end(spawn_blocking(work)).await
}

async fn end<T>(task: JoinHandle<T>) -> T {
    // No task is cancelled here, so the error can only be a panic.
    task.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
