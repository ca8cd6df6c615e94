//! Where Redis is: one server, or a cluster and how to find it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::ConfigError;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A host name or address, and a port.
    Tcp {
        /// Host name, IPv4 address, or IPv6 address without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// The path of a Unix domain socket.
    Unix(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl Address {
    fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Tcp { host, .. } if host.is_empty() => {
                Err(ConfigError::new("host", "", "a host name or an IP address"))
            }
            Self::Tcp { port: 0, .. } => Err(ConfigError::new("port", 0, "1 to 65535")),
            Self::Unix(path) if path.is_empty() => {
                Err(ConfigError::new("path", "", "the path of a Unix domain socket"))
            }
            Self::Tcp { .. } | Self::Unix(_) => Ok(()),
        }
    }
}

/// One server, or several that share the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Servers {
    /// A server on its own.
    One(Address),
    /// A cluster.
    Cluster {
        /// The nodes that are asked for the others, in this order.
        seeds: Vec<Address>,
    },
}

/// More seeds than anybody needs.
const SEEDS_MAX: usize = 1024;

impl Servers {
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }

    pub(super) fn check(&self, db: u16) -> Result<(), ConfigError> {
        let seeds = match self {
            Self::One(address) => return address.check(),
            Self::Cluster { seeds } => seeds,
        };
        if !(1..=SEEDS_MAX).contains(&seeds.len()) {
            return Err(ConfigError::new("seeds", seeds.len(), "1 to 1024 nodes of the cluster"));
        }
        if db != 0 {
            return Err(ConfigError::new("db", db, "0, as a cluster has no other"));
        }
        seeds.iter().try_for_each(Address::check)
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = match self {
            Self::One(address) => return address.fmt(f),
            Self::Cluster { seeds } => seeds,
        };
        f.write_str("cluster of ")?;
        for (at, seed) in seeds.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{seed}")?;
        }
        Ok(())
    }
}

/// The application's own idea of where a server is. Two are the same only if one is a clone of the other.
#[derive(Clone)]
pub(crate) struct AddressMap(Arc<dyn Fn(&Address) -> Address + Send + Sync>);

impl AddressMap {
    pub(super) fn new(map: impl Fn(&Address) -> Address + Send + Sync + 'static) -> Self {
        Self(Arc::new(map))
    }

    pub(super) fn apply(&self, address: &Address) -> Address {
        // The thread that is about to connect is not the application's to end. The panic has been reported by its hook.
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
    use crate::api::config::Config;

    #[test]
    fn a_map_says_where_to_connect_and_one_that_panics_changes_nothing() {
        let builder = || Config::builder_cluster([("seed", 1)]);
        let node = Address::Tcp { host: "10.0.0.1".to_owned(), port: 7000 };
        let to_bastion = |address: &Address| match address {
            Address::Tcp { port, .. } => Address::Tcp { host: "bastion".to_owned(), port: *port },
            Address::Unix(_) => address.clone(),
        };
        let mapped = builder().address_map(to_bastion).build().unwrap();
        assert_eq!(mapped.mapped(&node).to_string(), "bastion:7000");
        assert_eq!((mapped.clone() == mapped, builder().build().unwrap() == mapped), (true, false));
        assert_eq!(builder().build().unwrap().mapped(&node), node);
        let broken = builder().address_map(|_| panic!("no idea")).build().unwrap();
        assert_eq!(broken.mapped(&node), node);
    }

    #[test]
    fn a_cluster_needs_a_seed_and_has_one_database() {
        let none: [(&str, u16); 0] = [];
        let refused = Config::builder_cluster(none).build().unwrap_err();
        assert_eq!(refused.option(), "seeds");
        let refused = Config::builder_cluster([("h", 1)]).db(2).build().unwrap_err();
        assert_eq!(refused.option(), "db");
    }
}
