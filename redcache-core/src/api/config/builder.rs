//! The settings that are not in the table: the servers and the functions of the application.

use super::servers::{AddressMap, Servers};
use super::settings::{Config, ConfigBuilder};
use crate::api::address::Address;
use crate::api::config_error::ConfigError;
use crate::api::credentials_provider::{
    BlockingCredentialsProvider, CredentialsProvider, SharedProvider,
};
use crate::api::observer::{Observer, SharedObserver};
use crate::api::tls::TlsConfig;

impl ConfigBuilder {
    /// Set the server to connect to, over TCP.
    ///
    /// `host` is a host name or an IP address; an IPv6 address has no brackets. The last call of
    /// `server`, [`cluster`](Self::cluster) and [`unix_socket`](Self::unix_socket) applies.
    /// Default: `localhost`, port 6379.
    #[must_use]
    pub fn server(mut self, host: impl Into<String>, port: u16) -> Self {
        self.config.servers = Servers::One(Address::Tcp { host: host.into(), port });
        self
    }

    /// Set the cluster to connect to, by some of its nodes.
    ///
    /// One of the nodes, a primary or a replica, must be reachable when the cache connects. The
    /// cache learns the other nodes from it.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::Config;
    ///
    /// let config = Config::builder().cluster([("10.0.0.1", 6379), ("10.0.0.2", 6379)]).build()?;
    /// assert_eq!(config, "redis-cluster://10.0.0.1,10.0.0.2:6379".parse()?);
    /// # Ok::<(), redcache_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn cluster<H: Into<String>>(mut self, seeds: impl IntoIterator<Item = (H, u16)>) -> Self {
        let seeds = seeds.into_iter().map(|(host, port)| Address::Tcp { host: host.into(), port });
        self.config.servers = Servers::Cluster { seeds: seeds.collect() };
        self
    }

    /// Set the service to connect to, by the sentinels that watch it.
    ///
    /// The cache queries the sentinels for the primary of `service`, switches when they report
    /// another one, and learns of further sentinels. One sentinel must be reachable when the cache
    /// connects. The default port of a sentinel is 26379.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::Config;
    ///
    /// let sentinels = [("s1", 26379), ("s2", 26379)];
    /// let config = Config::builder().sentinel(sentinels, "mymaster").build()?;
    /// assert_eq!(config, "redis-sentinel://s1,s2/mymaster".parse()?);
    /// # Ok::<(), redcache_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn sentinel<H: Into<String>>(
        mut self,
        sentinels: impl IntoIterator<Item = (H, u16)>,
        service: impl Into<String>,
    ) -> Self {
        let address = |(host, port): (H, u16)| Address::Tcp { host: host.into(), port };
        let sentinels = sentinels.into_iter().map(address).collect();
        self.config.servers = Servers::Sentinel { sentinels, service: service.into() };
        self
    }

    /// Encrypt all connections, sentinels included unless [`sentinel_tls`](Self::sentinel_tls) is
    /// set. Default: no encryption.
    ///
    /// The adapter that creates the cache needs its feature `tls`.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::{Config, TlsConfig};
    ///
    /// let config = Config::builder()
    ///     .server("cache.internal", 6379)
    ///     .tls(TlsConfig::new().ca_file("/etc/redis/ca.crt"))
    ///     .build()?;
    /// assert_eq!(config, "rediss://cache.internal/?tls_ca=/etc/redis/ca.crt".parse()?);
    /// # Ok::<(), redcache_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.config.tls = Some(tls);
        self
    }

    /// Set the TLS settings of the connections to sentinels; `None` stands for no encryption.
    /// Default: those of the servers.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::{Config, TlsConfig};
    ///
    /// let config = Config::builder()
    ///     .sentinel([("s1", 26379)], "cache")
    ///     .tls(TlsConfig::new())
    ///     .sentinel_tls(None)
    ///     .build()?;
    /// assert_eq!(config, "rediss-sentinel://s1/cache?sentinel_tls=false".parse()?);
    /// # Ok::<(), redcache_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn sentinel_tls(mut self, tls: Option<TlsConfig>) -> Self {
        self.config.sentinel_tls = Some(tls);
        self
    }

    /// Set the Unix domain socket to connect to, by its path.
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<String>) -> Self {
        self.config.servers = Servers::One(Address::Unix(path.into()));
        self
    }

    /// Set no server: the cache is disabled, as [`Config::disabled`] describes.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.config.servers = Servers::None;
        self
    }

    /// Set a function that maps the address of a server to the address to connect to.
    ///
    /// Use it for a cluster behind network address translation, whose nodes announce addresses that
    /// are unreachable from this process. It is called before every connection attempt, under no
    /// lock. If it panics, the address is not changed. Default: none.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::{Address, Config};
    ///
    /// let config = Config::builder()
    ///     .cluster([("bastion", 6379)])
    ///     .address_map(|address| match address {
    ///         Address::Tcp { port, .. } => {
    ///             Address::Tcp { host: "bastion".to_owned(), port: *port }
    ///         }
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

    /// Set the observer, which sees every event of the cache from the first connection on.
    ///
    /// A later call replaces the observer; pass a tuple for two of them. An observer that owns a
    /// handle of its own cache keeps the cache open until `close`. Default: none.
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_core::Config;
    /// use redcache_core::observer::{DisconnectedEvent, Observer};
    ///
    /// struct Log;
    ///
    /// impl Observer for Log {
    ///     fn on_disconnected(&self, event: &DisconnectedEvent) {
    ///         eprintln!("lost {}: {}", event.address, event.reason);
    ///     }
    /// }
    ///
    /// let config = Config::builder().server("cache.internal", 6379).observer(Log).build()?;
    /// # Ok::<(), redcache_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.config.observer = SharedObserver::new(observer);
        self
    }

    /// Set the credentials provider, which is called before each login. It replaces `username` and
    /// `password`. Default: none.
    ///
    /// This setter is for the async adapters; for the blocking adapter, see
    /// [`blocking_credentials_provider`](Self::blocking_credentials_provider).
    ///
    /// [`CredentialsProvider`] has an example.
    #[must_use]
    pub fn credentials_provider(mut self, provider: impl CredentialsProvider) -> Self {
        self.config.provider = Some(SharedProvider::new(provider));
        self
    }

    /// Set the credentials provider of the sentinels. It replaces `sentinel_username` and
    /// `sentinel_password`. Default: none.
    #[must_use]
    pub fn sentinel_credentials_provider(mut self, provider: impl CredentialsProvider) -> Self {
        self.config.sentinel_provider = Some(SharedProvider::new(provider));
        self
    }

    /// Set the credentials provider for the blocking adapter.
    ///
    /// [`BlockingCredentialsProvider`] has an example.
    #[must_use]
    pub fn blocking_credentials_provider(
        mut self,
        provider: impl BlockingCredentialsProvider,
    ) -> Self {
        self.config.provider = Some(SharedProvider::blocking(provider));
        self
    }

    /// Set the credentials provider of the sentinels for the blocking adapter.
    #[must_use]
    pub fn blocking_sentinel_credentials_provider(
        mut self,
        provider: impl BlockingCredentialsProvider,
    ) -> Self {
        self.config.sentinel_provider = Some(SharedProvider::blocking(provider));
        self
    }

    /// Check the settings and return the [`Config`].
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the option, its value and the allowed values.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.config;
        config.servers.check()?;
        config.check_settings()?;
        if config.username.is_some() && config.password.is_none() {
            let text = "a user name needs a password: set `password` too";
            return Err(ConfigError::unquoted("username", text));
        }
        if config.sentinel_username.is_some() && config.sentinel_password.is_none() {
            let text = "a user name needs a password: set `sentinel_password` too";
            return Err(ConfigError::unquoted("sentinel_username", text));
        }
        if config.provider.is_some() && config.password.is_some() {
            let text = "the credentials provider takes the place of `password`: set one of the two";
            return Err(ConfigError::unquoted("password", text));
        }
        if config.sentinel_provider.is_some() && config.sentinel_password.is_some() {
            let text = "the credentials provider of the sentinels takes the place of \
                        `sentinel_password`: set one of the two";
            return Err(ConfigError::unquoted("sentinel_password", text));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::credentials::{Credentials, LoginRequest};

    #[test]
    fn the_default_server_is_localhost() {
        let config = Config::builder().build().unwrap();
        assert_eq!(config.servers().to_string(), "localhost:6379");
    }

    #[test]
    fn a_user_name_needs_a_password() {
        let rejected = Config::builder().username("u").build().unwrap_err();
        assert_eq!(rejected.option(), "username");
        assert!(Config::builder().username("u").password("p").build().is_ok());
    }

    #[test]
    fn a_password_and_a_provider_exclude_each_other() {
        let provider = |_: LoginRequest| Ok(Credentials::password("hunter2"));
        let config = Config::builder().blocking_credentials_provider(provider);
        assert!(config.clone().build().is_ok());
        assert_eq!(config.password("p").build().unwrap_err().option(), "password");
        let sentinels = Config::builder().blocking_sentinel_credentials_provider(provider);
        let rejected = sentinels.sentinel_password("p").build().unwrap_err();
        assert_eq!(rejected.option(), "sentinel_password");
    }

    #[test]
    fn the_password_is_never_shown() {
        let config = Config::builder().username("u").password("hunter2").build().unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.password.unwrap().reveal(), "hunter2");
    }
}
