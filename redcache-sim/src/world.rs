//! Simulation of whole deployments.

mod call_style;
mod caller;
mod change;
mod cluster;
mod engine;
mod failover;
mod inject;
mod kind;
mod loader;
mod login;
mod quiesce;
mod refresh;
mod serve;
mod shorten;
mod simulate;
mod stall;

pub use self::kind::simulate;
pub use self::shorten::shortest;
pub use crate::options::Options;
pub use crate::run::Run;
