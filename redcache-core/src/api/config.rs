//! The settings of a cache: a `Config` exists only with valid settings.

mod allowed;
mod builder;
mod into_config;
mod redis_down;
mod servers;
mod settings;
mod spelling;
mod tls_options;
mod url;

use std::str::FromStr;

pub use crate::api::address::Address;
pub use crate::api::config_error::ConfigError;
pub use into_config::IntoConfig;
pub use redis_down::OnRedisDown;
pub use servers::Servers;
pub use settings::{
    Config, ConfigBuilder, ENVELOPE_PREFIX, LOCK_PREFIX, NOT_FOUND_MARKER, REFRESH_LOCK_PREFIX,
    Setting,
};

use crate::api::credentials_provider::SharedProvider;
use crate::api::observer::SharedObserver;
use crate::api::tls::TlsConfig;

impl Config {
    /// Return a builder with the default settings.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::with_defaults()
    }

    /// Return the settings of a disabled cache, which has no server.
    ///
    /// Reads find nothing, so loaders always run, one at a time for each key in this process.
    /// Writes succeed and store nothing. Use a disabled cache to switch caching off, or in tests of
    /// your service. The URL `disabled://` means the same.
    ///
    /// In detail: a call with a loader shares the load of another caller if that load begins after
    /// the call. `get` returns an answer without a value. `remove` and `touch` return `false`,
    /// because there was no value. `insert_with` runs its loader, and returns whether there was a
    /// value to store. `ready` succeeds, and `is_tracked` returns `false`. Calls check their
    /// arguments as always, and the timeouts of loads apply.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::Config;
    ///
    /// assert_eq!(Config::disabled(), Config::from_url("disabled://")?);
    /// let config = Config::from_url("disabled://?load_timeout=5s")?;
    /// assert_eq!(config.servers().to_string(), "none");
    /// # Ok::<(), redcache_core::ConfigError>(())
    /// ```
    pub fn disabled() -> Self {
        ConfigBuilder::with_defaults().disabled().config
    }

    /// Return the settings that a URL describes.
    ///
    /// | URL | servers |
    /// |---|---|
    /// | `redis://user:password@host:port/db?option=value` | one server over TCP |
    /// | `redis-cluster://user:password@host:port,host:port/?option=value` | some nodes of a cluster |
    /// | `redis-sentinel://user:password@host:port,host:port/service/db?option=value` | sentinels |
    /// | `redis+unix://user:password@/path/to.sock?option=value` | a Unix domain socket |
    /// | `disabled://?option=value` | none: see [`Config::disabled`] |
    ///
    /// `valkey` may replace `redis`. `rediss` and `valkeys` mean TLS, and add the options of
    /// [`Config::TLS_SETTINGS`]. User name, password, port, db and options may be left out. The
    /// options are listed in [`Config::SETTINGS`]; each has the name of its setter of
    /// [`ConfigBuilder`]. Durations have a unit (`100us`, `250ms`, `10s`, `2m`, `1h`, `7d`); sizes
    /// may have one (`4096`, `64KiB`, `128MiB`, `1GiB`). In user name, password, path and values,
    /// write `%40` for `@`, `%2F` for `/`, `%3F` for `?`, `%23` for `#`, `%25` for `%` and `%20`
    /// for a space.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the invalid part of the URL. It quotes nothing that may be a
    /// password.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        url.parse()
    }

    /// Return a builder with these settings, to change some of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::Config;
    ///
    /// let config = Config::from_url("redis://cache.internal/")?;
    /// let other = config.into_builder().db(1).build()?;
    /// assert_eq!(other, Config::from_url("redis://cache.internal/1")?);
    /// # Ok::<(), redcache_core::ConfigError>(())
    /// ```
    pub fn into_builder(self) -> ConfigBuilder {
        ConfigBuilder { config: self }
    }

    /// Return the servers.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Return the TLS settings; `None` without TLS.
    pub fn tls(&self) -> Option<&TlsConfig> {
        self.tls.as_ref()
    }

    /// Return the TLS settings of the sentinels; `None` if they speak without TLS.
    pub fn sentinel_tls(&self) -> Option<&TlsConfig> {
        self.sentinel_tls.as_ref().map_or(self.tls.as_ref(), Option::as_ref)
    }

    /// Return the name that the TLS certificate of the server at `address` must contain, unless
    /// [`TlsConfig::server_name`] sets another.
    ///
    /// It is the host of the address. A node of a cluster that announces an IP address is expected
    /// to have a certificate for the name of the first seed, if that is a name.
    pub fn tls_name<'a>(&'a self, address: &'a Address) -> &'a str {
        let host = |address: &'a Address| match address {
            Address::Tcp { host, .. } => host.as_str(),
            Address::Unix(_) => "localhost",
        };
        let is_ip = |host: &str| host.parse::<core::net::IpAddr>().is_ok();
        match &self.servers {
            Servers::Cluster { seeds } if is_ip(host(address)) => {
                let seed = host(seeds.first().unwrap_or(address));
                if is_ip(seed) { host(address) } else { seed }
            }
            Servers::Cluster { .. }
            | Servers::None
            | Servers::One(_)
            | Servers::Sentinel { .. } => host(address),
        }
    }

    /// Return the prefixes of the locks of loads and of refreshes.
    pub fn lock_prefixes(&self) -> [&str; 2] {
        [&self.lock_prefix, &self.refresh_lock_prefix]
    }

    /// Return the observer.
    pub fn observer(&self) -> &SharedObserver {
        &self.observer
    }

    /// Return `true` if a password is set.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Return the credentials provider of the servers.
    pub fn provider(&self) -> Option<&SharedProvider> {
        self.provider.as_ref()
    }

    /// Return the credentials provider of the sentinels.
    pub fn sentinel_provider(&self) -> Option<&SharedProvider> {
        self.sentinel_provider.as_ref()
    }

    /// Return the address to connect to for the server at `address`, as
    /// [`ConfigBuilder::address_map`] maps it. This runs application code: hold no lock.
    pub fn mapped(&self, address: &Address) -> Address {
        self.address_map.as_ref().map_or_else(|| address.clone(), |map| map.apply(address))
    }
}

impl FromStr for Config {
    type Err = ConfigError;

    /// Read a URL as [`Config::from_url`] does.
    fn from_str(url: &str) -> Result<Self, ConfigError> {
        url::parse(url)?.build()
    }
}

impl FromStr for ConfigBuilder {
    type Err = ConfigError;

    /// Parse a URL as [`Config::from_url`] does, and leave the check of the settings to
    /// [`build`](Self::build).
    fn from_str(url: &str) -> Result<Self, ConfigError> {
        url::parse(url)
    }
}
