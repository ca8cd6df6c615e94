//! The addresses of the servers: one server, or the seeds of a cluster.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::api::address::Address;
use crate::api::config_error::ConfigError;

/// The servers of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Servers {
    /// No server: the cache is disabled.
    None,
    /// One server outside of a cluster.
    One(Address),
    /// A server whose address Redis Sentinel knows.
    Sentinel {
        /// The sentinels, which are queried in this order.
        sentinels: Vec<Address>,
        /// The name of the service that they watch.
        service: String,
    },
    /// A cluster.
    Cluster {
        /// The nodes that are queried for the slot map, in this order.
        seeds: Vec<Address>,
    },
}

const SEEDS_MAX: usize = 1024;
/// The largest number of sentinels, far more than watch any service.
const SENTINELS_MAX: usize = 64;

impl Servers {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let seeds = match self {
            Self::None => return Ok(()),
            Self::One(address) => return address.check(),
            Self::Sentinel { sentinels, service } => return check_sentinels(sentinels, service),
            Self::Cluster { seeds } => seeds,
        };
        if !(1..=SEEDS_MAX).contains(&seeds.len()) {
            return Err(ConfigError::new("seeds", seeds.len(), "1 to 1024 nodes of the cluster"));
        }
        seeds.iter().try_for_each(Address::check)
    }
}

fn check_sentinels(sentinels: &[Address], service: &str) -> Result<(), ConfigError> {
    if service.is_empty() {
        let text = "the service must have the name that the sentinels know it by: write \
                    redis-sentinel://HOST:PORT/SERVICE";
        return Err(ConfigError::unquoted("service", text));
    }
    if !(1..=SENTINELS_MAX).contains(&sentinels.len()) {
        return Err(ConfigError::new("sentinels", sentinels.len(), "1 to 64 sentinels"));
    }
    sentinels.iter().try_for_each(Address::check)
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = match self {
            Self::None => return f.write_str("none"),
            Self::One(address) => return address.fmt(f),
            Self::Sentinel { sentinels, service } => {
                write!(f, "service {service} of the sentinels ")?;
                sentinels
            }
            Self::Cluster { seeds } => {
                f.write_str("cluster of ")?;
                seeds
            }
        };
        for (at, seed) in seeds.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{seed}")?;
        }
        Ok(())
    }
}

/// The application's function from a server's address to the address to connect to. Two maps are
/// equal only if one is a clone of the other.
#[derive(Clone)]
pub(crate) struct AddressMap(Arc<dyn Fn(&Address) -> Address + Send + Sync>);

impl AddressMap {
    pub(super) fn new(map: impl Fn(&Address) -> Address + Send + Sync + 'static) -> Self {
        Self(Arc::new(map))
    }

    pub(super) fn apply(&self, address: &Address) -> Address {
        // A panic of the application must not end the thread that connects. The panic hook has
        // reported it.
        catch_unwind(AssertUnwindSafe(|| (self.0)(address))).unwrap_or_else(|_| address.clone())
    }
}

impl PartialEq for AddressMap {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AddressMap {}

impl fmt::Debug for AddressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressMap")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::config::{Config, ConfigBuilder};

    fn cluster() -> ConfigBuilder {
        Config::builder().cluster([("seed", 1)])
    }

    #[test]
    fn an_address_map_redirects_connections() {
        let node = Address::Tcp { host: "10.0.0.1".to_owned(), port: 7000 };
        let to_bastion = |address: &Address| match address {
            Address::Tcp { port, .. } => Address::Tcp { host: "bastion".to_owned(), port: *port },
            Address::Unix(_) => address.clone(),
        };
        let mapped = cluster().address_map(to_bastion).build().unwrap();
        assert_eq!(mapped.mapped(&node).to_string(), "bastion:7000");
        assert_eq!((mapped.clone() == mapped, cluster().build().unwrap() == mapped), (true, false));
        assert_eq!(cluster().build().unwrap().mapped(&node), node);
    }

    #[test]
    fn an_address_map_that_panics_changes_no_address() {
        let node = Address::Tcp { host: "10.0.0.1".to_owned(), port: 7000 };
        let broken = cluster().address_map(|_| panic!("no idea")).build().unwrap();
        assert_eq!(broken.mapped(&node), node);
    }

    #[test]
    fn a_cluster_needs_a_seed() {
        let none: [(&str, u16); 0] = [];
        let rejected = Config::builder().cluster(none).build().unwrap_err();
        assert_eq!(rejected.option(), "seeds");
    }

    #[test]
    fn a_cluster_may_have_other_databases_than_0() {
        assert_eq!(cluster().db(2).build().unwrap().db(), 2);
    }

    #[test]
    fn an_impossible_host_is_rejected() {
        for host in ["", "h#insecure", "localhost ", "[::1]", "a,b", "user@h", "h/0", "h\0"] {
            let rejected = Config::builder().server(host, 1).build().unwrap_err();
            assert_eq!(rejected.option(), "host", "{host}");
        }
        for host in ["h", "::1", "fe80::1%eth0", "127.0.0.1", "a-b_c.example", "münchen.example"] {
            assert!(Config::builder().server(host, 1).build().is_ok(), "{host}");
        }
    }
}
