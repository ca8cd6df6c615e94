//! The layer between the core of redcache and its faces, the async driver and the blocking cache.
//!
//! It holds everything that both faces need and that is neither a decision about Redis nor a socket: clocks, the
//! engine's seed, and the policy for busy polling. It depends on no runtime and does no I/O.
//!
//! Applications depend on a face instead: `redcache-tokio`, for example, or `redcache-blocking`.

#![forbid(unsafe_code)]

mod busy_poll;
mod clock;
mod coarse_clock;
mod seed;

pub use busy_poll::BusyPoll;
pub use clock::coarse_now;
pub use seed::new_seed;
