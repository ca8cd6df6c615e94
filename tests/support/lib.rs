//! Support for tests on real servers: processes that end with the test, a Redis, a cluster, a
//! client that shows raw bytes, and proxies that count and disturb.
//!
//! Everything here panics on failure: a test that cannot run must fail.

#![forbid(unsafe_code)]

mod certificates;
mod faulty_proxy;
mod middlebox;
mod process;
mod proxy;
mod raw;
mod redis_cluster;
mod redis_sentinel;
mod redis_server;
mod rng;
mod tls_group;
mod tls_server;

pub use certificates::Certificates;
pub use faulty_proxy::{Fault, FaultyProxy, HOLD_MAX};
pub use middlebox::Middlebox;
pub use process::Process;
pub use proxy::{Direction, Proxy};
pub use raw::Raw;
pub use redis_cluster::RedisCluster;
pub use redis_sentinel::RedisSentinel;
pub use redis_server::RedisServer;
pub use rng::Rng;
pub use tls_server::TlsServer;
