//! The slot map of a process, as far as it was told.

use std::collections::BTreeSet;

/// The number of slot maps in a row that may be ignored for an older epoch.
pub(crate) const OLDER_MAX: u8 = 8;

/// A topology reply on its way to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopologyReply {
    /// `MOVED`: the key's slot is at this port; `None` for an unusable one. Only the last of a
    /// read's commands counts, and which one is last is not tracked.
    Moved { key: usize, port: Option<u16>, version: u64, is_last: bool },
    /// `ASK`: the key is to be queried at this port once.
    Ask { key: usize, port: Option<u16> },
    /// The epoch of the slot map that follows.
    Epoch(Option<u64>),
    /// The port of each key, and the number of the owner if it is the real one.
    Owners(Vec<(Option<u16>, Option<u64>)>),
}

/// The knowledge of a process about the route of one key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Route {
    /// The ports that it may take for the owner.
    pub(crate) owners: BTreeSet<u16>,
    /// The ports that `ASK` named.
    pub(crate) asked: BTreeSet<u16>,
    /// The ports named in what it is reading now.
    pub(crate) named: BTreeSet<u16>,
    /// The latest owner that a slot map has named.
    pub(crate) version: u64,
}

/// The messages to a process about its cluster.
#[derive(Debug)]
pub(crate) struct SlotMap {
    pub(crate) epoch: Option<u64>,
    pub(crate) older: u8,
    pub(crate) routes: Vec<Route>,
}

impl SlotMap {
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

    /// Return whether the process must take the key to be at this port.
    pub(crate) fn is_at(&self, key: usize, port: u16) -> bool {
        let Route { owners, named, .. } = &self.routes[key];
        owners.contains(&port) && owners.iter().chain(named).all(|other| *other == port)
    }

    /// Return whether a slot map has named this owner of a key, or a later one.
    pub(crate) fn knows_owner(&self, key: usize, version: u64) -> bool {
        self.routes[key].version >= version
    }
}
