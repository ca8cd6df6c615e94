//! The engine against servers whose replies the test writes.

mod disabled;
mod joins;
mod outage;
mod removals;
mod silence;
mod world;
