//! Benchmarks of redcache and its peers, measured in one run.
//!
//! Two binaries share this library. `compare` runs one workload against one peer and prints a JSON
//! line, or (`--all`) the whole table, interleaved, with the ratios that count. `micro` prints
//! costs without noise from the machine: allocations and instructions per operation.
//!
//! In reading order: [`cli`] parses the command, [`server`] provides a Redis, [`workload`] drives a
//! [`Peer`](peer::Peer) on its [`runtime`] and [`measure`]s it into a [`line`](mod@line); [`plan`]
//! and [`rounds`] repeat that for every peer, [`table`] compares the result with the targets and
//! [`plot`] draws it; [`growth`] measures the cost as each parameter grows, [`staleness`] the age
//! of reads.

#![forbid(unsafe_code)]

mod beside;
pub mod cli;
mod cluster;
pub mod growth;
pub mod line;
pub mod measure;
pub mod micro;
pub mod peer;
pub mod peers;
pub mod plan;
pub mod plot;
pub mod rounds;
pub mod runtime;
pub mod server;
pub mod staleness;
pub mod table;
pub mod tls;
pub mod versions;
pub mod workload;

/// An error that ends a run; callers print its text only.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
