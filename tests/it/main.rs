//! Tests of redcache on real servers.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod conformance;
mod contract;
mod defects;
mod processes;
mod tidy;
