//! Tests of the engine with scripted replies of its servers.

mod audits;
mod disabled;
mod freshness;
mod joins;
mod locks;
mod outage;
mod overdue;
mod removals;
mod round_trip;
mod silence;
mod steps;
mod ttl;
mod unstored;
mod world;
