//! A service keeps its rows in a SQL database and reads them through redcache on smol.
//!
//! ```sh
//! cargo run --example quickstart_smol
//! REDIS_URL=redis://localhost:6379 cargo run --example quickstart_smol
//! ```
//!
//! The steps are in `shared/tour.rs`; this file only chooses the runtime.

#![expect(clippy::print_stdout, reason = "an example is there to show something")]

use redcache_smol::{Answer, Cache, Key, LoadError, Source, connect};
use smol::future::yield_now;
use smol::{spawn, unblock};

#[path = "shared/stage.rs"]
mod stage;
#[path = "shared/tour.rs"]
mod tour;

fn main() -> Result<(), stage::BoxError> {
    smol::block_on(tour::run())
}
