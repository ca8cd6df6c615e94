//! The engine: the one public state machine of the core, with the types that the author of an
//! adapter needs.
//!
//! ```text
//! calls ─▶ Engine ─▶ PlainCalls │ Fetches │ Writes │ Refreshes │ Removals ─▶ Env ─▶ events, router
//!             ▲                                                               │
//!             └───────────────── router events, timers ◀──────────────────────┘
//! ```
//!
//! Each machine owns its state and knows no other machine. All share `Env`. `router_events` decides
//! how the progress of one machine affects another.

mod audits;
mod calls;
mod cancel;
mod coherence;
mod disabled;
mod env;
mod exchange;
mod fetches;
mod gather;
mod inputs;
mod ops;
mod outage;
mod outputs;
mod plain;
mod refreshes;
mod removals;
mod round_trip;
mod router_events;
mod script_support;
mod seed;
mod sender;
mod stale;
mod state;
mod steps;
mod stray_locks;
mod unstored;
mod untracked;
mod validate;
mod writes;

pub use calls::Replacement;
pub use seed::Seed;
pub use state::Engine;
pub use validate::check_ttl;

pub use crate::api::credentials_provider::{CredentialsFuture, SharedProvider};
pub use crate::api::load_error::{CallError, LoadFailure};
pub use crate::api::observer::observe::Observation;
pub use crate::api::observer::shared::SharedObserver;
pub use crate::api::options::{LoadOptions, LoaderId};
pub use crate::event::{CallStep, Event, Outcome, RawValue};
pub use crate::flow::call::OpId;
pub use crate::flow::generation::{Generation, LastGeneration, NamespaceCall, NamespaceStep};
pub use crate::flow::generation_name::{GENERATION_KEY, GENERATION_MARK};
pub use crate::flow::refresh_policy::RefreshPolicy;
pub use crate::near::batch::Batch;
pub use crate::near::{Companion, Near, NearHit, NearTime};
pub use crate::wire::router::{ConnId, LoginId, Transmit};
pub use crate::wire::value_memory::{LongValue, Received};

#[cfg(test)]
mod tests;
