//! Checks of a simulated world, made after every step.
//!
//! A check compares both sides: the answers of the engines and the state of the server model.

mod answer;
mod change;
mod command;
mod error;
mod fresh;
mod hang_up;
mod key_news;
mod locked;
mod near;
mod one_link;
mod oversized;
mod refresh;
mod removal;
mod rest;
mod room;
mod route;
mod slow_line;
mod stale;
mod ttl;
mod written;
