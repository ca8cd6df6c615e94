//! The clients that read the table through a cache.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::time::Duration;

use moka::future::Cache as Moka;
use redis::aio::MultiplexedConnection;
use redis::caching::CacheConfig;
use redis::{AsyncCommands, AsyncConnectionConfig, Client};

use super::rows::{ROWS, Rows};
use crate::Failure;

/// A client of the table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// redcache with its defaults.
    Redcache,
    /// redcache with a limit of the staleness of near hits.
    RedcacheLimited,
    /// redcache with `max_staleness(0)`.
    RedcacheNewest,
    /// redis-rs with its client-side cache; a missing key is loaded and set.
    RedisRsCache,
    /// redis-rs without a cache in the process; a missing key is loaded and set.
    RedisRs,
    /// moka with a time to live, without Redis.
    Moka,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::Redcache,
        Self::RedcacheLimited,
        Self::RedcacheNewest,
        Self::RedisRsCache,
        Self::RedisRs,
        Self::Moka,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Redcache => "redcache-tokio",
            Self::RedcacheLimited => "redcache-tokio, limit 50 ms",
            Self::RedcacheNewest => "redcache-tokio, max_staleness(0)",
            Self::RedisRsCache => "redis-rs-cache",
            Self::RedisRs => "redis-rs",
            Self::Moka => "moka, ttl 1 s",
        }
    }
}

/// The limit of staleness of [`Kind::RedcacheLimited`].
const LIMIT: Duration = Duration::from_millis(50);

/// The lifetime of an entry in moka.
const MOKA_TTL: Duration = Duration::from_secs(1);

/// The lifetime of a value in Redis.
const TTL: Duration = Duration::from_secs(600);

/// One client, cloned per task.
#[derive(Clone)]
pub(super) enum Reader {
    Redcache(redcache_tokio::Cache),
    RedisRs(MultiplexedConnection),
    Moka(Moka<String, String>),
}

impl Reader {
    pub(super) async fn connect(kind: Kind, address: &str) -> Result<Self, Failure> {
        let url = format!("redis://{address}/");
        Ok(match kind {
            Kind::Redcache => Self::Redcache(redcache_tokio::connect(url.as_str()).await?),
            Kind::RedcacheLimited => {
                let url = format!("{url}?near_staleness_max={}ms", LIMIT.as_millis());
                Self::Redcache(redcache_tokio::connect(url.as_str()).await?)
            }
            Kind::RedcacheNewest => {
                let cache = redcache_tokio::connect(url.as_str()).await?;
                let newest = redcache_core::CallOptions::new().max_staleness(Duration::ZERO);
                Self::Redcache(cache.with_options(newest))
            }
            Kind::RedisRsCache => {
                let size = NonZeroUsize::new(ROWS).unwrap_or(NonZeroUsize::MIN);
                let cache = CacheConfig::new().set_size(size).set_default_client_ttl(TTL);
                let config = AsyncConnectionConfig::new().set_cache_config(cache);
                let client = Client::open(format!("{url}?protocol=resp3"))?;
                Self::RedisRs(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Kind::RedisRs => {
                Self::RedisRs(Client::open(url)?.get_multiplexed_async_connection().await?)
            }
            Kind::Moka => {
                Self::Moka(Moka::builder().max_capacity(ROWS as u64).time_to_live(MOKA_TTL).build())
            }
        })
    }

    /// Read a row, and return its version.
    pub(super) async fn read(&mut self, row: usize, rows: &Rows) -> Result<usize, Failure> {
        let name = &rows.names[row];
        let text = match self {
            Self::Redcache(cache) => {
                let load = || async { Ok::<_, Infallible>(rows.load(row)) };
                let answer = cache.get_with(name, TTL, load).await?;
                String::from_utf8(answer.value.ok_or("a key is missing")?.to_vec())?
            }
            Self::RedisRs(connection) => match connection.get(name).await? {
                Some(text) => text,
                None => {
                    let text = rows.load(row);
                    let () = connection.set_ex(name, &text, TTL.as_secs()).await?;
                    text
                }
            },
            Self::Moka(cache) => cache.get_with_by_ref(name, async { rows.load(row) }).await,
        };
        Ok(text.parse()?)
    }
}
