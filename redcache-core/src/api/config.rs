//! How a cache is set up: built valid, or not at all.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

mod servers;
mod url;

use servers::AddressMap;
pub use servers::{Address, Servers};

/// A password: never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("«secret»")
    }
}

/// What a call with a loader does when Redis cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnRedisDown {
    /// It fails, with what Redis failed with.
    Fail,
    /// It runs its loader, once for all who ask for the key in this process, and stores nothing.
    LoadDirect,
}

/// The settings of one cache. Made by [`Config::builder`] or read from a URL by [`Config::from_url`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use redcache_core::Config;
///
/// let config = Config::builder("localhost", 6379)
///     .lock_ttl(Duration::from_secs(5))
///     .near_cache_bytes(16 << 20)
///     .build()?;
/// let same = Config::from_url("redis://localhost:6379/?lock_ttl=5s&near_cache_bytes=16MiB")?;
/// assert_eq!(config, same);
/// # Ok::<(), redcache_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub(crate) servers: Servers,
    pub(crate) address_map: Option<AddressMap>,
    pub(crate) discovery_interval: Duration,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) db: u16,
    pub(crate) client_name: Option<String>,
    pub(crate) lock_ttl: Duration,
    pub(crate) lock_prefix: String,
    pub(crate) not_found_marker: Bytes,
    pub(crate) near_cache_bytes: u64,
    pub(crate) near_ttl_max: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) command_timeout: Duration,
    pub(crate) load_timeout: Duration,
    pub(crate) on_redis_down: OnRedisDown,
    pub(crate) direct_loads_max: usize,
    pub(crate) breaker_failures: u32,
    pub(crate) breaker_pause: Duration,
    pub(crate) busy_poll: Duration,
    pub(crate) refresh_workers: usize,
    pub(crate) refresh_queue_max: usize,
    pub(crate) refresh_lock_prefix: String,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) reconnect_delay_max: Duration,
    pub(crate) value_max: usize,
    pub(crate) keys_max: usize,
    pub(crate) inflight_max: usize,
}

/// What every value written by redcache begins with.
pub const ENVELOPE_PREFIX: &[u8] = b"__redcache:v1:";

/// What a value cached as "not found" holds, unless configured otherwise.
pub const NOT_FOUND_MARKER: &[u8] = b"__redcache:not-found";

/// The lock prefix, unless configured otherwise; the same as that of redcache for Go.
pub const LOCK_PREFIX: &str = "__redcache:lock:";

/// What the name of a refresh lock begins with, unless configured otherwise; the same as that of redcache for Go.
pub const REFRESH_LOCK_PREFIX: &str = "__redcache:refresh:";

impl Config {
    /// Starts from the defaults with a server on TCP.
    pub fn builder(host: impl Into<String>, port: u16) -> ConfigBuilder {
        ConfigBuilder::at(Servers::One(Address::Tcp { host: host.into(), port }))
    }

    /// Starts from the defaults with a cluster. Of the nodes that are named here one must be there when the cache is
    /// opened, be it a primary or a replica; it knows the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::Config;
    ///
    /// let config = Config::builder_cluster([("10.0.0.1", 6379), ("10.0.0.2", 6379)]).build()?;
    /// assert_eq!(config, Config::from_url("redis-cluster://10.0.0.1,10.0.0.2:6379")?);
    /// # Ok::<(), redcache_core::ConfigError>(())
    /// ```
    pub fn builder_cluster<H: Into<String>>(
        seeds: impl IntoIterator<Item = (H, u16)>,
    ) -> ConfigBuilder {
        let seeds = seeds.into_iter().map(|(host, port)| Address::Tcp { host: host.into(), port });
        ConfigBuilder::at(Servers::Cluster { seeds: seeds.collect() })
    }

    /// Starts from the defaults with a server on a Unix domain socket.
    pub fn builder_unix(path: impl Into<String>) -> ConfigBuilder {
        ConfigBuilder::at(Servers::One(Address::Unix(path.into())))
    }

    /// Reads a URL: `redis://user:password@host:port/db?option=value`, the same with `valkey://`,
    /// `redis+unix:///path/to.sock?db=0&option=value`, or `redis-cluster://user:password@host:port,host:port/?option=value`
    /// with some nodes of a cluster.
    ///
    /// The options are the setters of [`ConfigBuilder`] by name. Durations carry a unit (`100us`, `250ms`, `10s`, `2m`, `1h`),
    /// sizes may (`4096`, `64KiB`, `128MiB`, `1GiB`).
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names what is wrong and what is allowed. It never repeats the password.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        url::parse(url)?.build()
    }

    /// Where Redis is.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// For adapters: where to connect to reach the server that [`Event::Dial`](crate::Event::Dial) names, as
    /// [`ConfigBuilder::address_map`] has it. It runs code of the application, so not under a lock.
    pub fn mapped(&self, address: &Address) -> Address {
        self.address_map.as_ref().map_or_else(|| address.clone(), |map| map.apply(address))
    }

    /// How long a lock lives unless it is renewed.
    pub fn lock_ttl(&self) -> Duration {
        self.lock_ttl
    }

    /// How long a connection attempt may take, up to and including the handshake.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How long a lone answer is looked for before its thread sleeps.
    pub fn busy_poll(&self) -> Duration {
        self.busy_poll
    }

    /// The bound of the near cache in bytes; zero when it is off.
    pub fn near_cache_bytes(&self) -> u64 {
        self.near_cache_bytes
    }
}

impl TryFrom<&str> for Config {
    type Error = ConfigError;

    fn try_from(url: &str) -> Result<Self, ConfigError> {
        Self::from_url(url)
    }
}

impl TryFrom<&String> for Config {
    type Error = ConfigError;

    fn try_from(url: &String) -> Result<Self, ConfigError> {
        Self::from_url(url)
    }
}

impl TryFrom<String> for Config {
    type Error = ConfigError;

    fn try_from(url: String) -> Result<Self, ConfigError> {
        Self::from_url(&url)
    }
}

impl TryFrom<ConfigBuilder> for Config {
    type Error = ConfigError;

    fn try_from(builder: ConfigBuilder) -> Result<Self, ConfigError> {
        builder.build()
    }
}

/// Collects the settings of a [`Config`]; nothing is checked before [`build`](Self::build).
#[derive(Debug, Clone)]
pub struct ConfigBuilder {
    config: Config,
}

impl ConfigBuilder {
    fn at(servers: Servers) -> Self {
        let config = Config {
            servers,
            address_map: None,
            discovery_interval: Duration::from_secs(60),
            username: None,
            password: None,
            db: 0,
            client_name: None,
            lock_ttl: Duration::from_secs(10),
            lock_prefix: LOCK_PREFIX.to_owned(),
            not_found_marker: Bytes::from_static(NOT_FOUND_MARKER),
            near_cache_bytes: 128 << 20,
            near_ttl_max: Duration::from_secs(3600),
            stale_if_error: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(2),
            load_timeout: Duration::from_secs(60),
            on_redis_down: OnRedisDown::Fail,
            direct_loads_max: 64,
            breaker_failures: 16,
            breaker_pause: Duration::from_secs(1),
            busy_poll: Duration::from_micros(100),
            refresh_workers: 4,
            refresh_queue_max: 64,
            refresh_lock_prefix: REFRESH_LOCK_PREFIX.to_owned(),
            heartbeat_interval: Duration::from_secs(5),
            reconnect_delay_max: Duration::from_secs(2),
            value_max: 64 << 20,
            keys_max: 100_000,
            inflight_max: 1 << 20,
        };
        Self { config }
    }

    /// The ACL user to log in as; without one, the password is that of the default user.
    #[must_use]
    pub fn username(mut self, name: impl Into<String>) -> Self {
        self.config.username = Some(name.into());
        self
    }

    /// The password. It never appears in `Debug`, in errors or in logs.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.config.password = Some(Secret(password.into()));
        self
    }

    /// The number of the database. Default 0.
    #[must_use]
    pub fn db(mut self, db: u16) -> Self {
        self.config.db = db;
        self
    }

    /// The name that `CLIENT LIST` shows for our connections. Printable ASCII without spaces. Default: none.
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.config.client_name = Some(name.into());
        self
    }

    /// How long a lock lives unless it is renewed; at least 100 ms. Default 10 s. A crashed process holds the others
    /// up for at most this long.
    #[must_use]
    pub fn lock_ttl(mut self, ttl: Duration) -> Self {
        self.config.lock_ttl = ttl;
        self
    }

    /// What a lock begins with. It must be the same for all that share the keys. Default [`LOCK_PREFIX`].
    #[must_use]
    pub fn lock_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.config.lock_prefix = prefix.into();
        self
    }

    /// The payload that stands for "not found". A value equal to it cannot be stored. Default [`NOT_FOUND_MARKER`].
    #[must_use]
    pub fn not_found_marker(mut self, marker: impl Into<Bytes>) -> Self {
        self.config.not_found_marker = marker.into();
        self
    }

    /// The bound of the near cache in bytes, keys and overhead included; 0 turns it off. Default 128 MiB.
    #[must_use]
    pub fn near_cache_bytes(mut self, bytes: u64) -> Self {
        self.config.near_cache_bytes = bytes;
        self
    }

    /// The longest time that the near cache keeps a value, whatever its ttl in Redis. Default 1 h.
    #[must_use]
    pub fn near_ttl_max(mut self, ttl: Duration) -> Self {
        self.config.near_ttl_max = ttl;
        self
    }

    /// For how long a copy in the near cache may still be given in place of an error, be it of Redis or of a loader,
    /// when its ttl has passed or the connection was lost that would have told of its change. Default 0: never. A key
    /// that was removed or written while its copy was good is not given any more.
    #[must_use]
    pub fn stale_if_error(mut self, staleness_max: Duration) -> Self {
        self.config.stale_if_error = staleness_max;
        self
    }

    /// For how long a copy in the near cache whose ttl has passed may still be given to those who would have to wait
    /// while somebody else loads the key, here or in another process. Default 0: never.
    #[must_use]
    pub fn stale_while_revalidate(mut self, staleness_max: Duration) -> Self {
        self.config.stale_while_revalidate = staleness_max;
        self
    }

    /// How long a connection attempt may take, handshake included. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// How long each step may wait for Redis, be it for a connection or for a reply. Default 2 s.
    #[must_use]
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.config.command_timeout = timeout;
        self
    }

    /// How long a loader may run. After that its callers get [`ErrorKind::LoadTimeout`](crate::ErrorKind::LoadTimeout)
    /// and its lock is released; who waits for the lock of another process, for at most `lock_ttl` more, loads for
    /// itself. Default 60 s.
    #[must_use]
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.config.load_timeout = timeout;
        self
    }

    /// What a call with a loader does when Redis cannot be asked. Default [`OnRedisDown::Fail`].
    #[must_use]
    pub fn on_redis_down(mut self, policy: OnRedisDown) -> Self {
        self.config.on_redis_down = policy;
        self
    }

    /// How many keys of this process may be loaded at a time without a lock of Redis, so that an outage of Redis does
    /// not become one of the database. Further ones fail with what Redis failed with. Default 64.
    #[must_use]
    pub fn direct_loads_max(mut self, keys: usize) -> Self {
        self.config.direct_loads_max = keys;
        self
    }

    /// After how many unanswered commands in a row Redis is left alone for [`breaker_pause`](Self::breaker_pause),
    /// while calls that need it fail at once; 0 for never. Default 16.
    #[must_use]
    pub fn breaker_failures(mut self, commands: u32) -> Self {
        self.config.breaker_failures = commands;
        self
    }

    /// How long Redis is left alone before the next command is tried on it. Default 1 s.
    #[must_use]
    pub fn breaker_pause(mut self, pause: Duration) -> Self {
        self.config.breaker_pause = pause;
        self
    }

    /// How long a connection looks for a lone answer before its thread sleeps: a Redis nearby answers sooner than a
    /// sleeping thread wakes up. Looks in vain become rare by themselves, so a Redis that takes longer costs next to nothing.
    /// At most 10 ms; zero turns it off and saves processor time. Default 100 µs.
    #[must_use]
    pub fn busy_poll(mut self, limit: Duration) -> Self {
        self.config.busy_poll = limit;
        self
    }

    /// How many refreshes may run at a time. Default 4.
    #[must_use]
    pub fn refresh_workers(mut self, workers: usize) -> Self {
        self.config.refresh_workers = workers;
        self
    }

    /// How many keys may wait to be refreshed; further ones are left alone until they are read again. Default 64.
    #[must_use]
    pub fn refresh_queue_max(mut self, keys: usize) -> Self {
        self.config.refresh_queue_max = keys;
        self
    }

    /// What the name of the lock of a refresh begins with; the key follows in braces. It must be the same for all that
    /// share the keys. Default [`REFRESH_LOCK_PREFIX`].
    #[must_use]
    pub fn refresh_lock_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.config.refresh_lock_prefix = prefix.into();
        self
    }

    /// After how much silence a connection is probed, and how long the probe may take. Default 5 s. A dead peer is
    /// therefore noticed within twice this time.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.config.heartbeat_interval = interval;
        self
    }

    /// The longest pause between two connection attempts; pauses double up to it and carry jitter. Default 2 s.
    #[must_use]
    pub fn reconnect_delay_max(mut self, delay: Duration) -> Self {
        self.config.reconnect_delay_max = delay;
        self
    }

    /// How often a cluster is asked who owns which slot, though nothing has hinted at a change; jitter of a tenth is
    /// added or taken off. Default 60 s.
    #[must_use]
    pub fn discovery_interval(mut self, interval: Duration) -> Self {
        self.config.discovery_interval = interval;
        self
    }

    /// Says where to connect instead of to an address, for a cluster behind network address translation: its nodes
    /// name each other by addresses that cannot be reached from here. Asked before every connection. A map that
    /// panics leaves the address as it is. Default: none.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::{Address, Config};
    ///
    /// let config = Config::builder_cluster([("bastion", 6379)])
    ///     .address_map(|address| match address {
    ///         Address::Tcp { port, .. } => Address::Tcp { host: "bastion".to_owned(), port: *port },
    ///         other => other.clone(),
    ///     })
    ///     .build()?;
    /// # Ok::<(), redcache_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn address_map(
        mut self,
        map: impl Fn(&Address) -> Address + Send + Sync + 'static,
    ) -> Self {
        self.config.address_map = Some(AddressMap::new(map));
        self
    }

    /// The largest value in bytes that is written or read; at most 512 MiB. Default 64 MiB.
    #[must_use]
    pub fn value_max(mut self, bytes: usize) -> Self {
        self.config.value_max = bytes;
        self
    }

    /// How many keys one batch may have. Default 100 000.
    #[must_use]
    pub fn keys_max(mut self, keys: usize) -> Self {
        self.config.keys_max = keys;
        self
    }

    /// How many commands may wait for a connection or a reply, for each node of a cluster. Default 1 048 576.
    #[must_use]
    pub fn inflight_max(mut self, commands: usize) -> Self {
        self.config.inflight_max = commands;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the option, its value and what is allowed.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.config;
        config.servers.check(config.db)?;
        check_times(&config)?;
        if config.lock_prefix.is_empty()
            || ENVELOPE_PREFIX.starts_with(config.lock_prefix.as_bytes())
        {
            return Err(ConfigError::new(
                "lock_prefix",
                &config.lock_prefix,
                "a non-empty text that is not a beginning of `__redcache:v1:`, or values would be taken for locks",
            ));
        }
        if config.not_found_marker.is_empty() {
            return Err(ConfigError::new("not_found_marker", "", "at least one byte"));
        }
        if let Some(name) = &config.client_name
            && (name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(ConfigError::new("client_name", name, "printable ASCII without spaces"));
        }
        if config.username.is_some() && config.password.is_none() {
            return Err(ConfigError::new(
                "username",
                "without a password",
                "a user name together with a password",
            ));
        }
        if !(1..=512 << 20).contains(&config.value_max) {
            return Err(ConfigError::new("value_max", config.value_max, "1 byte to 512 MiB"));
        }
        if config.refresh_workers == 0 {
            return Err(ConfigError::new("refresh_workers", 0, "at least 1"));
        }
        if config.refresh_queue_max == 0 {
            return Err(ConfigError::new("refresh_queue_max", 0, "at least 1"));
        }
        if config.refresh_lock_prefix.is_empty() {
            return Err(ConfigError::new("refresh_lock_prefix", "", "a non-empty text"));
        }
        if config.keys_max == 0 {
            return Err(ConfigError::new("keys_max", 0, "at least 1"));
        }
        if config.inflight_max < 16 {
            return Err(ConfigError::new("inflight_max", config.inflight_max, "at least 16"));
        }
        Ok(config)
    }
}

/// Longer, and other tasks of the thread would notice.
const BUSY_POLL_MAX: Duration = Duration::from_millis(10);

fn check_times(config: &Config) -> Result<(), ConfigError> {
    // Beyond a year a duration is a mistake, and sums of them could overflow an instant.
    const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
    let times = [
        ("lock_ttl", config.lock_ttl, Duration::from_millis(100), "100ms to 366 days"),
        ("near_ttl_max", config.near_ttl_max, Duration::from_millis(1), "1ms to 366 days"),
        ("stale_if_error", config.stale_if_error, Duration::ZERO, "0ms to 366 days"),
        (
            "stale_while_revalidate",
            config.stale_while_revalidate,
            Duration::ZERO,
            "0ms to 366 days",
        ),
        ("connect_timeout", config.connect_timeout, Duration::from_millis(1), "1ms to 366 days"),
        ("command_timeout", config.command_timeout, Duration::from_millis(1), "1ms to 366 days"),
        ("load_timeout", config.load_timeout, Duration::from_millis(1), "1ms to 366 days"),
        (
            "discovery_interval",
            config.discovery_interval,
            Duration::from_millis(100),
            "100ms to 366 days",
        ),
        ("breaker_pause", config.breaker_pause, Duration::from_millis(1), "1ms to 366 days"),
        (
            "heartbeat_interval",
            config.heartbeat_interval,
            Duration::from_millis(10),
            "10ms to 366 days",
        ),
        (
            "reconnect_delay_max",
            config.reconnect_delay_max,
            Duration::from_millis(1),
            "1ms to 366 days",
        ),
    ];
    if config.busy_poll > BUSY_POLL_MAX {
        return Err(ConfigError::new(
            "busy_poll",
            format!("{:?}", config.busy_poll),
            "0ms to 10ms",
        ));
    }
    for (option, value, least, allowed) in times {
        if value < least || value > LONGEST {
            return Err(ConfigError::new(option, format!("{value:?}"), allowed));
        }
    }
    Ok(())
}

/// A setting that cannot be: which option, which value, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option `{option}` cannot be `{value}`: allowed is {allowed}")]
pub struct ConfigError {
    option: String,
    value: String,
    allowed: String,
}

impl ConfigError {
    pub(crate) fn new(option: &str, value: impl fmt::Display, allowed: &str) -> Self {
        Self { option: option.to_owned(), value: value.to_string(), allowed: allowed.to_owned() }
    }

    /// Gives the name of the option.
    pub fn option(&self) -> &str {
        &self.option
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(builder: ConfigBuilder) -> String {
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn every_refusal_names_the_option_the_value_and_what_is_allowed() {
        let config = || Config::builder("localhost", 6379);
        assert_eq!(
            refused(config().lock_ttl(Duration::from_millis(99))),
            "option `lock_ttl` cannot be `99ms`: allowed is 100ms to 366 days"
        );
        for prefix in ["", "_", "__redcache:", "__redcache:v1:"] {
            let text = refused(config().lock_prefix(prefix));
            assert!(
                text.starts_with(&format!("option `lock_prefix` cannot be `{prefix}`")),
                "{text}"
            );
        }
        assert!(config().lock_prefix("__redcache:v1:x").build().is_ok());
        assert!(refused(config().value_max(0)).contains("1 byte to 512 MiB"));
        assert!(refused(config().client_name("a b")).contains("client_name"));
        assert!(refused(config().command_timeout(Duration::MAX)).contains("command_timeout"));
        assert!(refused(Config::builder("", 1)).contains("`host`"));
    }

    #[test]
    fn the_password_is_never_shown() {
        let config = Config::builder("h", 1).username("u").password("hunter2").build().unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.password.unwrap().reveal(), "hunter2");
    }
}
