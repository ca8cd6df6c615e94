//! A service keeps its rows in a SQL database and reads them through redcache on async-std.
//!
//! ```sh
//! cargo run --example quickstart_async_std
//! REDIS_URL=redis://localhost:6379 cargo run --example quickstart_async_std
//! ```
//!
//! The steps are in `shared/tour.rs`; this file only chooses the runtime.

#![expect(clippy::print_stdout, reason = "an example is there to show something")]

use async_std::task::{self, spawn, spawn_blocking as unblock, yield_now};
use redcache_async_std::{Answer, Cache, Key, LoadError, Source, connect};

#[path = "shared/stage.rs"]
mod stage;
#[path = "shared/tour.rs"]
mod tour;

fn main() -> Result<(), stage::BoxError> {
    task::block_on(tour::run())
}
