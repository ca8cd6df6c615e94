//! The table of settings. Each option has one row, from which its field, its setter, its getter,
//! its URL option, its check and its documentation follow.

use std::time::Duration;

use bytes::Bytes;

use super::allowed::{is_any, is_client_name, is_near_staleness, is_non_empty, is_present};
use super::redis_down::OnRedisDown;
use super::servers::{AddressMap, Servers};
use super::spelling::{
    Choice, Count, OptionalText, Password, Payload, Size, Spelling, Text, Time, check_range, parse,
};
use crate::api::address::Address;
use crate::api::config_error::ConfigError;
use crate::api::credentials_provider::SharedProvider;
use crate::api::observer::SharedObserver;
use crate::api::secret::Secret;
use crate::api::tls::TlsConfig;

/// The prefix of every value that redcache writes.
pub const ENVELOPE_PREFIX: &[u8] = b"__redcache:v1:";

/// The default of [`ConfigBuilder::not_found_marker`].
pub const NOT_FOUND_MARKER: &[u8] = b"__redcache:not-found";

/// The default of [`ConfigBuilder::lock_prefix`], which redcache for Go uses too.
pub const LOCK_PREFIX: &str = "__redcache:lock:";

/// The default of [`ConfigBuilder::refresh_lock_prefix`], which redcache for Go uses too.
pub const REFRESH_LOCK_PREFIX: &str = "__redcache:refresh:";

/// One option of a [`Config`], as documentation and tools list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// The name of the option in a URL and of its setter and getter.
    pub name: &'static str,
    /// The meaning of the option, as a noun phrase.
    pub meaning: &'static str,
    /// The default, as a URL spells it; `none` for an option that is absent by default.
    pub default: &'static str,
    /// The allowed values.
    pub allowed: &'static str,
}

macro_rules! settings {
    ($(
        $(#[doc = $more:literal])*
        $name:ident: $ty:ty, $spelling:ident = $default:literal, $allowed:literal
            $(if $is_allowed:path)?, $meaning:literal;
    )*) => {
        /// The settings of a cache: made by [`Config::builder`] or read from a URL by
        /// [`Config::from_url`].
        ///
        /// # Examples
        ///
        /// ```
        /// use std::time::Duration;
        /// use redcache_core::Config;
        ///
        /// let config = Config::builder()
        ///     .server("cache.internal", 6379)
        ///     .lock_ttl(Duration::from_secs(5))
        ///     .near_cache_bytes(16 << 20)
        ///     .build()?;
        /// let url = "redis://cache.internal:6379/?lock_ttl=5s&near_cache_bytes=16MiB";
        /// assert_eq!(config, url.parse()?);
        /// # Ok::<(), redcache_core::ConfigError>(())
        /// ```
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            pub(crate) servers: Servers,
            pub(crate) address_map: Option<AddressMap>,
            pub(crate) tls: Option<TlsConfig>,
            pub(crate) sentinel_tls: Option<Option<TlsConfig>>,
            pub(crate) observer: SharedObserver,
            pub(crate) provider: Option<SharedProvider>,
            pub(crate) sentinel_provider: Option<SharedProvider>,
            $(pub(crate) $name: $ty,)*
        }

        impl Config {
            /// Every option, in the order of the documentation.
            pub const SETTINGS: &[Setting] = &[$(Setting {
                name: stringify!($name),
                meaning: $meaning,
                default: $default,
                allowed: $allowed,
            },)*];

            $(settings! { @getter [concat!("Return ", $meaning, ".")]
                $name, $ty, $spelling })*

            pub(super) fn check_settings(&self) -> Result<(), ConfigError> {
                $(settings! { @check self, $name, $spelling, $allowed $(if $is_allowed)? })*
                Ok(())
            }
        }

        /// A builder of a [`Config`]. [`build`](Self::build) checks the settings.
        #[derive(Debug, Clone)]
        pub struct ConfigBuilder {
            pub(super) config: Config,
        }

        impl ConfigBuilder {
            $(settings! { @setter [
                concat!("Set ", $meaning, "."), $("\n", $more,)*
                concat!("\nDefault: `", $default, "`. Allowed: ", $allowed, "."),
            ] $name, $ty, $spelling })*

            pub(super) fn with_defaults() -> Self {
                let localhost = Address::Tcp { host: "localhost".to_owned(), port: 6379 };
                Self { config: Config {
                    servers: Servers::One(localhost),
                    address_map: None,
                    tls: None,
                    sentinel_tls: None,
                    observer: SharedObserver::default(),
                    provider: None,
                    sentinel_provider: None,
                    $($name: settings!(@default $spelling, $ty, $default),)*
                }}
            }

            /// Set the option `name` to the value that `text` spells.
            pub(super) fn set(mut self, name: &str, text: &str) -> Result<Self, ConfigError> {
                match name {
                    $(stringify!($name) => {
                        self.config.$name = parse::<$spelling, $ty>(name, text, $allowed)?;
                    })*
                    _ => {
                        let text = "the option is none of `Config::SETTINGS`";
                        return Err(ConfigError::unquoted("option", text));
                    }
                }
                Ok(self)
            }
        }
    };

    (@getter [$doc:expr] $name:ident, $ty:ty, Text) => {
        #[doc = $doc]
        pub fn $name(&self) -> &str {
            &self.$name
        }
    };
    (@getter [$doc:expr] $name:ident, $ty:ty, OptionalText) => {
        #[doc = $doc]
        pub fn $name(&self) -> Option<&str> {
            self.$name.as_deref()
        }
    };
    (@getter [$doc:expr] $name:ident, $ty:ty, Payload) => {
        #[doc = $doc]
        pub fn $name(&self) -> &[u8] {
            &self.$name
        }
    };
    // A password is not returned.
    (@getter [$doc:expr] $name:ident, $ty:ty, Password) => {};
    (@getter [$doc:expr] $name:ident, $ty:ty, $spelling:ident) => {
        #[doc = $doc]
        pub fn $name(&self) -> $ty {
            self.$name
        }
    };

    (@setter $docs:tt $name:ident, $ty:ty, Text) => {
        settings! { @set $docs $name, impl Into<String>, $name.into() }
    };
    (@setter $docs:tt $name:ident, $ty:ty, OptionalText) => {
        settings! { @set $docs $name, impl Into<String>, Some($name.into()) }
    };
    (@setter $docs:tt $name:ident, $ty:ty, Password) => {
        settings! { @set $docs $name, impl Into<String>, Some(Secret::new($name)) }
    };
    (@setter $docs:tt $name:ident, $ty:ty, Payload) => {
        settings! { @set $docs $name, impl Into<Bytes>, $name.into() }
    };
    (@setter $docs:tt $name:ident, $ty:ty, $spelling:ident) => {
        settings! { @set $docs $name, $ty, $name }
    };
    (@set [$($doc:expr,)*] $name:ident, $given:ty, $value:expr) => {
        $(#[doc = $doc])*
        #[must_use]
        pub fn $name(mut self, $name: $given) -> Self {
            self.config.$name = $value;
            self
        }
    };

    (@default OptionalText, $ty:ty, $default:literal) => { None };
    (@default Password, $ty:ty, $default:literal) => { None };
    (@default $spelling:ident, $ty:ty, $default:literal) => {
        // Every default of the table is readable, or no `Config` could be built.
        <$spelling as Spelling<$ty>>::parse($default).expect("the default is readable")
    };

    (@check $config:ident, $name:ident, $spelling:ident, $allowed:literal if $is_allowed:path) => {
        if !$is_allowed(&$config.$name) {
            let value = <$spelling as Spelling<_>>::show(&$config.$name);
            return Err(ConfigError::new(stringify!($name), value, $allowed));
        }
    };
    (@check $config:ident, $name:ident, Choice, $allowed:literal) => {};
    (@check $config:ident, $name:ident, $spelling:ident, $allowed:literal) => {
        check_range::<$spelling, _>(stringify!($name), &$config.$name, $allowed)?;
    };
}

settings! {
    /// Without a user name, the password is that of the default user. A user name needs a password.
    username: Option<String>, OptionalText = "none", "any text" if is_any,
        "the ACL user to log in as";

    /// The password never appears in `Debug` output, errors or logs.
    password: Option<Secret>, Password = "none", "any text" if is_any,
        "the password to log in with";

    /// A cluster has database 0 only, unless the server supports more.
    db: u16, Count = "0", "0 to 65535",
        "the number of the database";

    /// Without a user name, the password is that of the default user.
    sentinel_username: Option<String>, OptionalText = "none", "any text" if is_any,
        "the ACL user to log in to the sentinels as";

    /// Sentinels have a login of their own: [`password`](Self::password) is not sent to them.
    sentinel_password: Option<Secret>, Password = "none", "any text" if is_any,
        "the password to log in to the sentinels with";

    client_name: Option<String>, OptionalText = "none", "printable ASCII without spaces"
        if is_client_name,
        "the name of the connections in `CLIENT LIST`";

    /// The lock of a longer load is renewed while the load runs. A process that dies while it holds
    /// a lock delays the other callers of the key by at most this time.
    lock_ttl: Duration, Time = "10s", "100ms to 366d",
        "the time to live of a lock";

    /// All processes that share the keys must use the same prefix, redcache for Go included.
    lock_prefix: String, Text = "__redcache:lock:",
        "a text that neither begins `__redcache:v1:` nor is the beginning of it" if is_lock_prefix,
        "the prefix of the value of a lock";

    /// A value equal to the marker cannot be stored. All processes that share the keys must use the
    /// same marker.
    not_found_marker: Bytes, Payload = "__redcache:not-found", "one byte or more" if is_non_empty,
        "the stored form of \"not found\"";

    /// Keys and bookkeeping count. A value larger than 6% of it, with its key, is not kept and
    /// counts as [`Stats::near_oversized`](crate::Stats::near_oversized). `0` turns the near cache
    /// off.
    near_cache_bytes: u64, Size = "128MiB", "0 or more",
        "the size limit of the near cache, in bytes";

    /// The TTL in Redis limits it as well.
    near_ttl_max: Duration, Time = "1h", "1ms to 366d",
        "the longest time that the near cache keeps a value";

    /// An entry beyond it is no hit, so its key is read from Redis. While entries are hits, an idle
    /// connection is probed three times within this span, so that its entries stay below the limit
    /// as long as Redis replies in time. `0` means no further limit: entries are hits until nothing
    /// has been received on the connection for two
    /// [`heartbeat_interval`](Self::heartbeat_interval)s. See
    /// [`Answer::fresh_as_of`](crate::Answer::fresh_as_of).
    near_staleness_max: Duration, Time = "0s", "0s, or 10ms and more, 366d at most"
        if is_near_staleness,
        "the longest time since an entry of the near cache was known to be current";

    /// The key of every n-th hit is read from Redis again in the background. When the reply comes,
    /// it must equal the entry, unless an invalidation was lost. At most 16 such reads are in
    /// progress. [`Stats::audit_differences`](crate::Stats::audit_differences) counts differences.
    /// `0` checks none.
    near_audit_every: usize, Count = "0", "0 or more",
        "the number of near hits of which one is checked against Redis";

    /// For this time after its TTL, or after the loss of the connection that tracked it, an expired
    /// entry of the near cache replaces an error of Redis or of a loader. It also replaces the
    /// error of a call's timeout, and answers at once while Redis refuses connections. A key that
    /// was removed or written while its entry was valid is never returned. `0` means never.
    stale_if_error: Duration, Time = "0s", "0s to 366d",
        "the staleness allowed in place of an error";

    /// For this time after its TTL, an expired entry of the near cache replaces a wait for another
    /// caller's load, in this process or in another. `0` means never.
    stale_while_revalidate: Duration, Time = "0s", "0s to 366d",
        "the staleness allowed in place of a wait for a load";

    connect_timeout: Duration, Time = "5s", "1ms to 366d",
        "the timeout of one connection attempt, handshake included";

    /// A call may take several steps; [`CallOptions::timeout`](crate::CallOptions::timeout) limits
    /// a whole call.
    command_timeout: Duration, Time = "2s", "1ms to 366d",
        "the timeout of each step that waits for Redis";

    /// The callers of the load then fail with
    /// [`ErrorKind::LoadTimeout`](crate::ErrorKind::LoadTimeout) and the lock is released. A caller
    /// that waits for the lock of another process waits for `lock_ttl` more at most, then runs its
    /// own loader.
    load_timeout: Duration, Time = "60s", "1ms to 366d",
        "the timeout of one run of a loader";

    on_redis_down: OnRedisDown, Choice = "fail", "fail or load_direct",
        "what a call with a loader does while Redis is unavailable";

    /// Further loads fail with the error of Redis, so an outage of Redis does not overload the
    /// database.
    direct_loads_max: usize, Count = "64", "0 or more",
        "the number of keys that are loaded at the same time without a lock";

    /// Then calls that need Redis fail at once for [`breaker_pause`](Self::breaker_pause). A batch
    /// counts once, and only if Redis has answered nothing since it was sent. `0` turns this off.
    breaker_failures: u32, Count = "16", "0 or more",
        "the number of consecutive unanswered commands that opens the circuit breaker";

    /// The next command is then tried on Redis.
    breaker_pause: Duration, Time = "1s", "1ms to 366d",
        "the time for which the circuit breaker stays open";

    /// A nearby Redis replies sooner than a sleeping thread wakes up. A connection whose polls find
    /// no reply polls less often. `0` turns polling off and saves processor time.
    busy_poll: Duration, Time = "100us", "0s to 10ms",
        "the time for which a connection polls for a reply before its thread sleeps";

    refresh_workers: usize, Count = "4", "1 or more",
        "the number of background refreshes that run at the same time";

    /// A key beyond this number is not queued; its next read queues it.
    refresh_queue_max: usize, Count = "64", "1 or more",
        "the number of keys that wait for a background refresh";

    /// The key follows in braces. All processes that share the keys must use the same prefix.
    refresh_lock_prefix: String, Text = "__redcache:refresh:", "one character or more"
        if is_present,
        "the prefix of the key of a refresh lock";

    /// The same time is the timeout of the probe, so a dead peer is detected within twice this
    /// time.
    heartbeat_interval: Duration, Time = "5s", "10ms to 366d",
        "the silence after which a connection is probed";

    /// A jitter of a tenth is added or subtracted. A redirect or a lost connection triggers a query
    /// at once.
    discovery_interval: Duration, Time = "60s", "100ms to 366d",
        "the interval of the slot map queries to a cluster";

    /// Pauses double up to this limit and have jitter.
    reconnect_delay_max: Duration, Time = "2s", "1ms to 366d",
        "the longest pause between two connection attempts";

    /// The limit applies to keys too. A larger value cannot be written, and a read of one fails.
    value_max: usize, Size = "64MiB", "1 to 512MiB",
        "the size limit of a value, in bytes";

    /// A value of this size or more is read and written on a second connection to its server, so
    /// that smaller values do not wait behind it. The connection is opened at the first such value
    /// and closed when it is no longer used. A key counts as large once a large value of it was
    /// read or written, so the first read of it uses the ordinary connection. Longer values are
    /// read in pieces of twice this size, 128 KiB at most, between which the server answers other
    /// commands. `0` turns this off.
    large_value_bytes: usize, Size = "128KiB", "0 or more",
        "the size from which a value is large, in bytes";

    /// A failed [`remove`](crate::engine::Engine::remove) is repeated once Redis replies. Beyond
    /// this count the oldest is given up. `0` keeps none.
    kept_removals_max: usize, Count = "10000", "0 or more",
        "the number of failed removals that are kept to be repeated";

    keys_max: usize, Count = "100000", "1 or more",
        "the number of keys in one batch";

    /// In a cluster, the limit applies to each node.
    inflight_max: usize, Count = "1048576", "16 or more",
        "the number of commands that wait for a connection or a reply";
}

/// Return `true` if no value can look like a lock with this prefix.
fn is_lock_prefix(prefix: &str) -> bool {
    let prefix = prefix.as_bytes();
    !prefix.is_empty()
        && !ENVELOPE_PREFIX.starts_with(prefix)
        && !prefix.starts_with(ENVELOPE_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed_and_documented_defaults_are_true() {
        let config = ConfigBuilder::with_defaults().config;
        config.check_settings().unwrap();
        assert_eq!(config.lock_prefix, LOCK_PREFIX);
        assert_eq!(config.refresh_lock_prefix, REFRESH_LOCK_PREFIX);
        assert_eq!(config.not_found_marker, NOT_FOUND_MARKER);
        assert_eq!((config.lock_ttl(), config.value_max()), (Duration::from_secs(10), 64 << 20));
    }

    #[test]
    fn every_bound_of_the_table_is_readable() {
        for setting in Config::SETTINGS {
            let Some((least, most)) = setting.allowed.split_once(" to ") else { continue };
            for bound in [least, most] {
                let set = ConfigBuilder::with_defaults().set(setting.name, bound).unwrap();
                set.config.check_settings().unwrap();
            }
        }
    }

    #[test]
    fn a_setting_out_of_range_is_rejected_by_name_value_and_range() {
        let rejected = |name, text| {
            let builder = ConfigBuilder::with_defaults().set(name, text).unwrap();
            builder.config.check_settings().unwrap_err().to_string()
        };
        assert_eq!(
            rejected("lock_ttl", "99ms"),
            "option `lock_ttl` cannot be `99ms`: allowed is 100ms to 366d"
        );
        assert_eq!(
            rejected("value_max", "513MiB"),
            "option `value_max` cannot be `537919488`: allowed is 1 to 512MiB"
        );
        assert_eq!(
            rejected("keys_max", "0"),
            "option `keys_max` cannot be `0`: allowed is 1 or more"
        );
        assert!(rejected("busy_poll", "11ms").ends_with("allowed is 0s to 10ms"));
        assert!(rejected("client_name", "a b").ends_with("printable ASCII without spaces"));
        for prefix in ["", "_", "__redcache:", "__redcache:v1:", "__redcache:v1:0"] {
            let text = rejected("lock_prefix", prefix);
            assert!(
                text.starts_with(&format!("option `lock_prefix` cannot be `{prefix}`")),
                "{text}"
            );
        }
    }

    #[test]
    fn an_unreadable_value_is_rejected_with_the_expected_form() {
        let rejected =
            |name, text| ConfigBuilder::with_defaults().set(name, text).unwrap_err().to_string();
        assert_eq!(
            rejected("lock_ttl", "5"),
            "option `lock_ttl` cannot be `5`: allowed is a whole number with a unit \
             (us, ms, s, m, h, d), 100ms to 366d"
        );
        assert_eq!(
            rejected("on_redis_down", "panic"),
            "option `on_redis_down` cannot be `panic`: allowed is fail or load_direct"
        );
        assert!(rejected("db", "65536").ends_with("a whole number, 0 to 65535"));
        assert!(rejected("near_cache_bytes", "5MB").contains("MiB"));
        assert!(rejected("near_cache_bytes", "99999999999GiB").contains("MiB"));
    }
}
