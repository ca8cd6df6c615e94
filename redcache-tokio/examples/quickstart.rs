//! A service keeps its rows in a SQL database and reads them through redcache.
//!
//! ```sh
//! cargo run --example quickstart
//! REDIS_URL=redis://localhost:6379 cargo run --example quickstart
//! ```
//!
//! What it does stands in `shared/tour.rs`; only the runtime is chosen here.

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

/// Runs a task beside the others.
fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> {
    end(tokio::spawn(task))
}

/// Runs what blocks on a thread that may block.
async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    end(spawn_blocking(work)).await
}

async fn end<T>(task: JoinHandle<T>) -> T {
    // Nobody cancels a task here, so only a panic is left.
    task.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
