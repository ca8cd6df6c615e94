//! Fetches: the calls with a loader, and the flights that they share.
//!
//! ```text
//!  join_or_start ──▶ advance ──▶ start_load ──▶ handle_loaded ──▶ advance ──▶ complete
//!                      ▲ │
//!                      └─┘ replies, invalidations, timers
//! ```

mod batch;
mod call;
mod complete;
mod fetch;
mod flight;
mod leave;
mod load;
mod overdue;
mod stale;
mod state;

pub(super) use state::Fetches;
