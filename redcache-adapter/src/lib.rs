//! The layer between the core of redcache and its faces, the async driver and the blocking cache.
//!
//! It contains the code that both faces need and that is neither a decision about Redis nor a
//! socket:
//!
//! - [`Request`] and its implementations: each call of a cache, from the lookup in the near cache
//!   to the result;
//! - [`Host`]: the engine with its calls, loaders and attempts to connect, and [`Outputs`], its
//!   sorted events; [`SharedHost`]: the host behind the lock of a face;
//! - [`in_parts`]: the steps of a batch that starts in parts;
//! - [`READ_BUFFER`] and [`LONG_READ`]: how much a face reads at once;
//! - [`Scope`] and [`Deferring`]: no application code runs under a lock;
//! - [`CallTrace`]: the spans of calls, with the feature `tracing`;
//! - [`OwnProcess`]: forks do not use a cache of their parent;
//! - [`Encryption`] and [`Channel`]: TLS, or its absence;
//! - [`new_seed`] and [`coarse_now`]: randomness and time;
//! - [`BusyPoll`] and [`PollBackoff`]: the policy for polling instead of sleeping.
//!
//! It depends on no runtime and does no I/O. Applications depend on a face instead:
//! `redcache-tokio`, for example, or `redcache-blocking`.

#![forbid(unsafe_code)]

mod busy_poll;
mod clock;
mod coarse_clock;
mod committed;
mod deferred;
mod dials;
mod encryption;
mod face;
mod host;
mod load;
mod loaders;
mod logins;
mod namespaces;
mod near_object;
mod near_reader;
mod outputs;
mod parts;
mod poll_backoff;
mod process;
mod read_buffer;
mod registered;
mod request;
mod seed;
mod shared_host;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(not(feature = "tracing"))]
#[path = "untraced.rs"]
mod trace;

pub use busy_poll::BusyPoll;
pub use clock::coarse_now;
pub use committed::Committed;
pub use deferred::{Deferring, Scope};
pub use dials::{DIALS_MAX, Dial, Dials, address_of};
pub use encryption::{Channel, Encryption};
pub use face::Face;
pub use host::Host;
pub use load::LoadResult;
pub use loaders::Loaders;
pub use logins::{Login, LoginAnswer, Logins, check_providers, login_answer};
pub use namespaces::{Namespace, Namespaces, Tag};
pub use near_object::NearObject;
pub use near_reader::NearReader;
pub use outputs::{CallEvent, Calls, Outputs};
pub use parts::{Progress, in_parts};
pub use poll_backoff::PollBackoff;
pub use process::OwnProcess;
pub use read_buffer::{LONG_READ, READ_BUFFER};
pub use registered::Registered;
pub use request::Request;
pub use request::raw::{ReadRawMany, ReplaceMany};
pub use request::read::{Get, GetMany, GetManyWith, GetWith};
pub use request::refresh::Refresh;
pub use request::write::{
    Change, Insert, InsertMany, InsertManyWith, InsertWith, KeepRemovals, Remove, RemoveMany,
    Touch, TouchMany,
};
pub use seed::new_seed;
pub use shared_host::{RefreshRun, SharedHost};
pub use trace::{CacheTrace, CallTrace, Entered, LoadTrace};
