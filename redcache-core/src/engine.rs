//! The engine: the one public state machine of the core.
//!
//! ```text
//!  calls ──▶ Engine ──▶ PlainCalls │ Fetches │ Writes │ Refreshes ──▶ Env ──▶ events, router
//!               ▲                                                               │
//!               └──────────────── router events, timers ◀───────────────────────┘
//! ```
//!
//! Each machine owns its state and knows no other machine. All share [`Env`](env::Env). What one
//! machine's progress means for another is decided in `router_events`.

mod calls;
mod cancel;
mod coherence;
mod env;
mod exchange;
mod fetches;
mod gather;
mod inputs;
mod ops;
mod outputs;
mod plain;
mod refreshes;
mod router_events;
mod seed;
mod sender;
mod stale;
mod state;
mod stray_locks;
mod validate;
mod writes;

pub use seed::Seed;
pub use state::Engine;
pub use validate::check_ttl;
