//! Checks of a simulated world, made after every step.
//!
//! A check sees both sides: what the engines answer, and the server model's own state.

mod answer;
mod command;
mod locked;
mod near;
mod refresh;
mod rest;
mod route;
mod stale;
mod written;
