//! What the tests on real servers need: processes that end with the test, a Redis or a whole cluster among them, a
//! client that hides nothing, and a proxy that counts and disturbs.
//!
//! Everything here panics when it cannot do its work: a test that cannot run must fail, never pass unseen.

#![forbid(unsafe_code)]

mod faulty_proxy;
mod process;
mod proxy;
mod raw;
mod redis_cluster;
mod redis_sentinel;
mod redis_server;
mod rng;

pub use faulty_proxy::{Fault, FaultyProxy, HOLD_MAX};
pub use process::Process;
pub use proxy::{Direction, Proxy};
pub use raw::Raw;
pub use redis_cluster::RedisCluster;
pub use redis_sentinel::RedisSentinel;
pub use redis_server::RedisServer;
pub use rng::Rng;
