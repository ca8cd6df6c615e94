//! Reads a server's URL by hand: it names a service, not a web page, so neither IDNA nor path rules apply.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{Config, ConfigBuilder, ConfigError, OnRedisDown};

const SCHEMES: &str = "redis://, valkey://, redis+unix:// or redis-cluster://";
const PORT_DEFAULT: u16 = 6379;

pub(super) fn parse(url: &str) -> Result<ConfigBuilder, ConfigError> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| scheme_error("without `://`"))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let builder = match scheme {
        "redis" | "valkey" => tcp(rest)?,
        "redis-cluster" | "valkey-cluster" => cluster(rest)?,
        "redis+unix" | "valkey+unix" | "unix" => unix(rest)?,
        // What stands before `://` may be anything, a password too; only well-formed schemes are repeated.
        other
            if other.len() <= 16
                && other.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-".contains(&b)) =>
        {
            return Err(scheme_error(other));
        }
        _ => return Err(scheme_error("«malformed»")),
    };
    query.split('&').filter(|pair| !pair.is_empty()).try_fold(builder, option)
}

fn scheme_error(found: &str) -> ConfigError {
    ConfigError::new("url", found, SCHEMES)
}

fn tcp(rest: &str) -> Result<ConfigBuilder, ConfigError> {
    let Parts { login, endpoints, db } = Parts::of(rest);
    let (host, port) = endpoint_parts(endpoints)?;
    log_in(Config::builder(host, port), login).and_then(|builder| in_db(builder, db))
}

fn cluster(rest: &str) -> Result<ConfigBuilder, ConfigError> {
    let Parts { login, endpoints, db } = Parts::of(rest);
    let seeds: Vec<_> = endpoints.split(',').map(endpoint_parts).collect::<Result<_, _>>()?;
    log_in(Config::builder_cluster(seeds), login).and_then(|builder| in_db(builder, db))
}

/// What stands between the scheme and the options.
struct Parts<'a> {
    login: Option<&'a str>,
    endpoints: &'a str,
    db: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Self {
        let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
        // The last `@`: a password may hold one that nobody encoded.
        match authority.rsplit_once('@') {
            Some((login, endpoints)) => Self { login: Some(login), endpoints, db },
            None => Self { login: None, endpoints: authority, db },
        }
    }
}

fn in_db(builder: ConfigBuilder, db: &str) -> Result<ConfigBuilder, ConfigError> {
    if db.is_empty() { Ok(builder) } else { Ok(builder.db(number("db", db, "0 to 65535")?)) }
}

fn endpoint_parts(endpoint: &str) -> Result<(String, u16), ConfigError> {
    let (host, port) = if let Some(rest) = endpoint.strip_prefix('[') {
        let (host, port) = rest
            .split_once(']')
            .ok_or_else(|| ConfigError::new("host", endpoint, "an IPv6 address in [brackets]"))?;
        (host, port.strip_prefix(':').unwrap_or(port))
    } else {
        endpoint.split_once(':').unwrap_or((endpoint, ""))
    };
    let host = if host.is_empty() { "localhost" } else { host };
    let port = if port.is_empty() { PORT_DEFAULT } else { number("port", port, "1 to 65535")? };
    Ok((decoded("host", host)?, port))
}

fn unix(rest: &str) -> Result<ConfigBuilder, ConfigError> {
    let (login, path) = match rest.find('/') {
        Some(0) => (None, rest),
        Some(slash) => (Some(rest[..slash].trim_end_matches('@')), &rest[slash..]),
        None => return Err(ConfigError::new("path", "", "redis+unix:///path/to.sock")),
    };
    log_in(Config::builder_unix(decoded("path", path)?), login)
}

fn log_in(builder: ConfigBuilder, login: Option<&str>) -> Result<ConfigBuilder, ConfigError> {
    let Some(login) = login else {
        return Ok(builder);
    };
    let (user, password) = login.split_once(':').ok_or_else(|| {
        ConfigError::new("username", "without a password", "user:password@ or :password@")
    })?;
    let builder = builder.password(secret(password)?);
    if user.is_empty() { Ok(builder) } else { Ok(builder.username(decoded("username", user)?)) }
}

fn option(builder: ConfigBuilder, pair: &str) -> Result<ConfigBuilder, ConfigError> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    if name == "password" {
        return Ok(builder.password(secret(value)?));
    }
    let value = &decoded(name, value)?;
    Ok(match name {
        "username" => builder.username(value),
        "db" => builder.db(number(name, value, "0 to 65535")?),
        "client_name" => builder.client_name(value),
        "lock_ttl" => builder.lock_ttl(duration(name, value)?),
        "lock_prefix" => builder.lock_prefix(value),
        "not_found_marker" => builder.not_found_marker(value.clone()),
        "near_cache_bytes" => builder.near_cache_bytes(size(name, value)?),
        "near_ttl_max" => builder.near_ttl_max(duration(name, value)?),
        "stale_if_error" => builder.stale_if_error(duration(name, value)?),
        "stale_while_revalidate" => builder.stale_while_revalidate(duration(name, value)?),
        "connect_timeout" => builder.connect_timeout(duration(name, value)?),
        "command_timeout" => builder.command_timeout(duration(name, value)?),
        "load_timeout" => builder.load_timeout(duration(name, value)?),
        "on_redis_down" => builder.on_redis_down(match value.as_str() {
            "fail" => OnRedisDown::Fail,
            "load_direct" => OnRedisDown::LoadDirect,
            other => return Err(ConfigError::new(name, other, "fail or load_direct")),
        }),
        "direct_loads_max" => builder.direct_loads_max(number(name, value, "a whole number")?),
        "breaker_failures" => builder.breaker_failures(number(name, value, "a whole number")?),
        "breaker_pause" => builder.breaker_pause(duration(name, value)?),
        "busy_poll" => builder.busy_poll(duration(name, value)?),
        "refresh_workers" => builder.refresh_workers(number(name, value, "a whole number")?),
        "refresh_queue_max" => builder.refresh_queue_max(number(name, value, "a whole number")?),
        "refresh_lock_prefix" => builder.refresh_lock_prefix(value),
        "heartbeat_interval" => builder.heartbeat_interval(duration(name, value)?),
        "reconnect_delay_max" => builder.reconnect_delay_max(duration(name, value)?),
        "discovery_interval" => builder.discovery_interval(duration(name, value)?),
        "value_max" => builder.value_max(usize::try_from(size(name, value)?).unwrap_or(usize::MAX)),
        "keys_max" => builder.keys_max(number(name, value, "a whole number")?),
        "inflight_max" => builder.inflight_max(number(name, value, "a whole number")?),
        _ => {
            return Err(ConfigError::new(name, value, "one of the options of `ConfigBuilder`"));
        }
    })
}

fn number<N: std::str::FromStr>(option: &str, text: &str, allowed: &str) -> Result<N, ConfigError> {
    text.parse().map_err(|_| ConfigError::new(option, text, allowed))
}

fn duration(option: &str, text: &str) -> Result<Duration, ConfigError> {
    let allowed = "a whole number with its unit, as in 100us, 250ms, 10s, 2m or 1h";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = number(option, digits, allowed)?;
    let us_per_unit = match &text[digits.len()..] {
        "us" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return Err(ConfigError::new(option, text, allowed)),
    };
    let us = count.checked_mul(us_per_unit);
    us.map(Duration::from_micros).ok_or_else(|| ConfigError::new(option, text, allowed))
}

fn size(option: &str, text: &str) -> Result<u64, ConfigError> {
    let allowed = "a whole number of bytes, or with a unit, as in 64KiB, 128MiB or 1GiB";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = number(option, digits, allowed)?;
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(ConfigError::new(option, text, allowed)),
    };
    count.checked_mul(unit).ok_or_else(|| ConfigError::new(option, text, allowed))
}

fn decoded(option: &str, text: &str) -> Result<String, ConfigError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ConfigError::new(option, "«not UTF-8»", "percent-encoded UTF-8")),
    }
}

fn secret(text: &str) -> Result<String, ConfigError> {
    decoded("password", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::config::{Address, Servers};

    fn parsed(url: &str) -> Config {
        parse(url).unwrap().build().unwrap()
    }

    fn refused(url: &str) -> String {
        Config::from_url(url).unwrap_err().to_string()
    }

    #[test]
    fn the_parts_of_a_url_are_found() {
        let config = parsed("valkey://user:p%40ss@example.org:7000/3?client_name=me&lock_ttl=2s");
        assert_eq!(config.servers.to_string(), "example.org:7000");
        assert_eq!(config.username.as_deref(), Some("user"));
        assert_eq!(config.password.unwrap().reveal(), "p@ss");
        assert_eq!((config.db, config.lock_ttl), (3, Duration::from_secs(2)));
        assert_eq!(parsed("redis://").servers.to_string(), "localhost:6379");
        assert_eq!(parsed("redis://[::1]").servers.to_string(), "[::1]:6379");
        let unix = parsed("redis+unix://:pw@/run/redis.sock?db=2");
        assert_eq!(unix.servers, Servers::One(Address::Unix("/run/redis.sock".into())));
        assert_eq!(unix.db, 2);
    }

    #[test]
    fn the_seeds_of_a_cluster_stand_side_by_side() {
        let config = parsed("valkey-cluster://u:p@h1:7000,h2,[::1]:7001/?lock_ttl=2s");
        assert_eq!(config.servers.to_string(), "cluster of h1:7000, h2:6379, [::1]:7001");
        assert_eq!(config.username.as_deref(), Some("u"));
        assert_eq!(config.lock_ttl, Duration::from_secs(2));
        assert_eq!(parsed("redis-cluster://h/0").servers.to_string(), "cluster of h:6379");
        assert!(refused("redis-cluster://h:1/3").contains("`db` cannot be `3`"));
        assert!(refused("redis-cluster://h:1,h:0").contains("`port`"));
    }

    #[test]
    fn a_wrong_url_says_which_part_is_wrong() {
        assert!(refused("localhost").contains("redis://"));
        assert!(refused("http://localhost").contains("`http`"));
        assert!(refused("redis://h:99999").contains("`port`"));
        assert!(refused("redis://h/x").contains("`db`"));
        assert!(refused("redis://h?lock_ttl=5").contains("10s"));
        assert!(refused("redis://h?near_cache_bytes=5MB").contains("128MiB"));
        assert!(refused("redis://h?colour=red").contains("`colour`"));
        assert!(refused("redis://user@h").contains("password"));
    }

    #[test]
    fn no_refusal_repeats_a_password() {
        for url in [
            "redis://u:hunter2@h:99999",
            "redis://u:hunter2@h/x",
            "redis://u:hunter2@h?x=y",
            "redis://h?password=hunter2&x=y",
            "u:hunter2@h://x",
            "redis://u:hunter2%ff@h",
        ] {
            assert!(!refused(url).contains("hunter2"), "{url}");
        }
    }
}
