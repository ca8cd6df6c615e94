//! The engine against servers whose replies the test writes.

mod audits;
mod disabled;
mod freshness;
mod joins;
mod locks;
mod outage;
mod removals;
mod round_trip;
mod silence;
mod world;
