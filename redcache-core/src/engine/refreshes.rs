//! Refresh-ahead: due keys wait in a bounded queue for a worker, which loads all of them at once.
//!
//! ```text
//!  due ──▶ queue ──▶ Ask ──▶ Load ──▶ Publish ──▶ done
//!                    lock, read   loader   replace, release
//! ```
//!
//! A worker is a task or thread of the adapter. [`Event::Refresh`](crate::engine::Event::Refresh)
//! requests it; it starts with `begin_refresh`, runs the loader, and always ends with
//! `handle_refresh_over`.

mod job;
mod loaders;
mod run;
mod state;

pub(super) use state::Refreshes;
