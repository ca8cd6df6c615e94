//! What a process has learned of its cluster.

use std::collections::BTreeSet;

/// So many maps in a row may be ignored for being older than the one that is known.
pub(crate) const OLDER_MAX: u8 = 8;

/// Something that a node says of the cluster, on its way to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopologyReply {
    /// The slot of a key is at this port; `None` for one that cannot be. Of the frames of a read only the last says so,
    /// and which is the last is not looked into.
    Moved { key: usize, port: Option<u16>, version: u64, is_last: bool },
    /// A key is to be asked for at this port, this once.
    Ask { key: usize, port: Option<u16> },
    /// The number of the map that follows.
    Epoch(Option<u64>),
    /// Where each key is, and which of its owners that is, if it is the true one.
    Owners(Vec<(Option<u16>, Option<u64>)>),
}

/// What a process knows of one key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Route {
    /// The ports at which it may take the key to be.
    pub(crate) owners: BTreeSet<u16>,
    /// Where it was told to ask for it.
    pub(crate) asked: BTreeSet<u16>,
    /// Ports that are named by what it reads just now.
    pub(crate) named: BTreeSet<u16>,
    /// The latest of the key's owners that a map has named.
    pub(crate) version: u64,
}

/// What a process was told of its cluster.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) epoch: Option<u64>,
    pub(crate) older: u8,
    pub(crate) routes: Vec<Route>,
}

impl Map {
    pub(crate) fn new(keys: usize) -> Self {
        Self { epoch: None, older: 0, routes: vec![Route::default(); keys] }
    }

    pub(crate) fn accepts(&mut self, epoch: Option<u64>) -> bool {
        if epoch.zip(self.epoch).is_some_and(|(epoch, known)| epoch < known) {
            self.older += 1;
            if self.older <= OLDER_MAX {
                return false;
            }
        }
        self.older = 0;
        self.epoch = epoch;
        true
    }

    pub(crate) fn replace(&mut self, owners: Vec<(Option<u16>, Option<u64>)>) {
        for (route, (port, version)) in self.routes.iter_mut().zip(owners) {
            route.owners = port.into_iter().collect();
            route.version = route.version.max(version.unwrap_or(0));
        }
    }

    /// It must take a key to be at this port.
    pub(crate) fn is_at(&self, key: usize, port: u16) -> bool {
        let Route { owners, named, .. } = &self.routes[key];
        owners.contains(&port) && owners.iter().chain(named).all(|other| *other == port)
    }

    /// A map has named this owner of a key, or a later one.
    pub(crate) fn knows_owner(&self, key: usize, version: u64) -> bool {
        self.routes[key].version >= version
    }
}
