//! The engine against servers whose replies the test writes.

mod disabled;
mod joins;
mod locks;
mod outage;
mod removals;
mod silence;
mod world;
