//! The policy for loads without Redis.

use std::str::FromStr;

use crate::api::config_error::ConfigError;

/// The behaviour of a call with a loader while Redis is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnRedisDown {
    /// The call fails with the error of Redis.
    Fail,
    /// The call runs its loader, once for all callers of the key in this process, and stores
    /// nothing.
    LoadDirect,
}

impl FromStr for OnRedisDown {
    type Err = ConfigError;

    /// Read `fail` or `load_direct`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "fail" => Ok(Self::Fail),
            "load_direct" => Ok(Self::LoadDirect),
            _ => Err(ConfigError::new("on_redis_down", text, "fail or load_direct")),
        }
    }
}
