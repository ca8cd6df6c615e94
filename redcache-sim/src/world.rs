//! Simulation of whole deployments.

mod call_style;
mod caller;
mod cluster;
mod engine;
mod failover;
mod inject;
mod loader;
mod login;
mod quiesce;
mod refresh;
mod serve;
mod shorten;
mod simulate;

pub use self::shorten::shortest;
pub use self::simulate::{Run, simulate};
pub use crate::options::Options;
