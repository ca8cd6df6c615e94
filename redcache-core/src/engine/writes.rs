//! Locked writes: the turns of a process's writes, the locks of a call's keys, the load, the end.
//!
//! ```text
//!  Turn ──▶ Lock ──▶ Load ──▶ Publish ──▶ done
//!            │ ▲
//!            ▼ │
//!           Pause     no lock is held here
//! ```
//!
//! An attempt requests the locks of all keys in one pipeline. If another process holds one of them,
//! the granted ones are released at once, and the next attempt follows when all blocked keys may be
//! free. A key that fails for a reason of its own drops out; the others continue.

mod attempt;
mod call;
mod end;
mod load;
mod state;

pub(super) use call::Purpose;
pub(super) use state::Writes;
