//! Who fetches which key, and who waits for it: one flight per key and process, with one leader and any number of
//! followers.

use std::hash::BuildHasher;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use slab::Slab;

use crate::api::key::Key;

/// Names a flight while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlightId(pub(crate) u32);

/// A call in flight.
///
/// It is named by a slot of the table of calls and a number that no other call in that slot ever has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl OpId {
    /// Gives a small number that is unique among the calls in flight, to index a table with.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// One key of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) op: OpId,
    /// Which of the call's keys it is.
    pub(crate) slot: u32,
}

/// A key on its way to those who asked for it. `C` is its course: what is being done about it.
#[derive(Debug)]
pub(crate) struct Flight<C> {
    pub(crate) key: Key,
    pub(crate) course: C,
    /// The first to ask, or who took over; it runs the loader.
    pub(crate) leader: Option<Caller>,
    /// In the order they came. Those whose call is over are passed over when their turn comes.
    pub(crate) followers: Vec<Caller>,
    /// How many of the followers may have left since the last look.
    departed: usize,
    /// Later callers find it by its key.
    listed: bool,
}

impl<C> Flight<C> {
    /// Later callers of the key find it.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }

    /// A follower has left. The line is tidied once half of it may be gone, so that a crowd that leaves one by one
    /// costs no more than a walk along the line.
    pub(crate) fn on_departed(&mut self, is_here: impl Fn(OpId) -> bool) {
        self.departed += 1;
        if self.departed * 2 > self.followers.len() {
            self.followers.retain(|caller| is_here(caller.op));
            self.departed = 0;
        }
    }
}

#[derive(Debug)]
pub(crate) struct Flights<C> {
    flights: Slab<Flight<C>>,
    by_key: HashTable<u32>,
    hasher: SeedableRandomState,
}

impl<C> Flights<C> {
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        Self { flights: Slab::new(), by_key: HashTable::new(), hasher }
    }

    pub(crate) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(crate) fn get(&self, id: FlightId) -> Option<&Flight<C>> {
        self.flights.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: FlightId) -> Option<&mut Flight<C>> {
        self.flights.get_mut(id.0 as usize)
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<FlightId> {
        let hash = self.hasher.hash_one(key);
        let found = self.by_key.find(hash, |&id| self.flights[id as usize].key.as_bytes() == key);
        found.map(|&id| FlightId(id))
    }

    /// Starts a flight that later callers of `key` will find.
    pub(crate) fn start(&mut self, key: Key, course: C, leader: Caller) -> FlightId {
        let hash = self.hasher.hash_one(key.as_bytes());
        let leader = Some(leader);
        let flight =
            Flight { key, course, leader, followers: Vec::new(), departed: 0, listed: true };
        // Each flight belongs to a call, and calls in flight are bounded far below 2^32.
        let id = self.flights.insert(flight) as u32;
        let Self { flights, by_key, hasher } = self;
        by_key.insert_unique(hash, id, |&id| hasher.hash_one(flights[id as usize].key.as_bytes()));
        FlightId(id)
    }

    /// Later callers of the key no longer find the flight; those aboard stay.
    pub(crate) fn unlist(&mut self, id: FlightId) {
        let Some(flight) = self.flights.get_mut(id.0 as usize) else {
            return;
        };
        if std::mem::replace(&mut flight.listed, false) {
            let hash = self.hasher.hash_one(flight.key.as_bytes());
            if let Ok(entry) = self.by_key.find_entry(hash, |&other| other == id.0) {
                entry.remove();
            }
        }
    }

    /// Ends a flight and gives what is left of it.
    pub(crate) fn end(&mut self, id: FlightId) -> Option<Flight<C>> {
        self.unlist(id);
        self.flights.try_remove(id.0 as usize)
    }

    /// The flights whose course `is_wanted`, oldest slot first.
    pub(crate) fn select(&self, is_wanted: impl Fn(&C) -> bool) -> Vec<FlightId> {
        let wanted = self.flights.iter().filter(|(_, flight)| is_wanted(&flight.course));
        wanted.map(|(id, _)| FlightId(id as u32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(index: u32) -> Caller {
        Caller { op: OpId { index, generation: 0 }, slot: 0 }
    }

    #[test]
    fn an_unlisted_flight_goes_on_while_another_starts_under_its_key() {
        let mut flights = Flights::new(1);
        let first = flights.start(Key::from("k"), "first", caller(1));
        assert_eq!(flights.find(b"k"), Some(first));
        flights.unlist(first);
        assert_eq!(flights.find(b"k"), None);
        let second = flights.start(Key::from("k"), "second", caller(2));
        assert_eq!(flights.find(b"k"), Some(second));
        assert_eq!(flights.end(first).unwrap().course, "first");
        assert_eq!(flights.find(b"k"), Some(second));
        assert_eq!(flights.select(|course| *course == "second"), [second]);
        assert!(flights.end(second).is_some());
        assert_eq!((flights.find(b"k"), flights.len()), (None, 0));
    }
}
