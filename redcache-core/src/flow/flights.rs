//! Flights: fetches that callers of this process share. Later callers of a key can join at most
//! one.
//!
//! A flight has one leader, which runs the loader, and any number of followers.

use std::hash::BuildHasher;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use slab::Slab;

use crate::api::key::Key;
use crate::flow::call::{Caller, OpId};

/// Names a flight by its index in the table and by a generation that no later flight at that index
/// has. So a late input for a flight never reaches another flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlightId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A caller of a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) caller: Caller,
    /// The number of loads that the flight had started when the caller joined.
    loads_before: u32,
    /// The caller was the leader and did not begin to load in time.
    has_led: bool,
}

impl Member {
    fn new(caller: Caller, loads_before: u32) -> Self {
        Self { caller, loads_before, has_led: false }
    }
}

/// The fetch of one key and its callers. `F` is the state of the fetch.
#[derive(Debug)]
pub(crate) struct Flight<F> {
    pub(crate) key: Key,
    pub(crate) fetch: F,
    /// The caller that runs the loader: the first, or its successor.
    leader: Option<Member>,
    /// The other callers, in order of arrival. Callers whose call has ended are skipped.
    followers: Vec<Member>,
    /// The number of loads that the flight has started.
    loads: u32,
    /// The number of followers that may have left since `followers` was last cleaned up.
    departed: usize,
    /// Whether later callers of the key find the flight.
    listed: bool,
    generation: u32,
    /// The hash of the key.
    hash: u64,
}

impl<F> Flight<F> {
    /// Return whether later callers of the key find the flight.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }

    pub(crate) fn leader(&self) -> Option<Caller> {
        self.leader.map(|member| member.caller)
    }

    /// Add a caller as the leader.
    pub(crate) fn lead(&mut self, caller: Caller) {
        self.restore_leader(Member::new(caller, self.loads));
    }

    /// Put back a leader that was taken.
    pub(crate) fn restore_leader(&mut self, leader: Member) {
        self.leader = Some(leader);
    }

    /// Return all callers.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.leader.iter().chain(&self.followers)
    }

    /// Return whether the flight has followers, including ones that have left.
    pub(crate) fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }

    /// Add a caller as a follower.
    pub(crate) fn follow(&mut self, caller: Caller) {
        self.followers.push(Member::new(caller, self.loads));
    }

    /// Replace the leader with the first follower whose call has not ended.
    pub(crate) fn succeed(&mut self, is_here: impl Fn(OpId) -> bool) {
        let next = self.followers.iter().position(|member| is_here(member.caller.op));
        self.leader = next.and_then(|at| self.followers.drain(..=at).next_back());
        if self.leader.is_none() {
            self.followers.clear();
        }
    }

    /// Return the first follower that `may_lead` and has not led, in place of a leader that keeps
    /// the others waiting.
    pub(crate) fn successor(&self, may_lead: impl Fn(&Member) -> bool) -> Option<Caller> {
        let mut followers = self.followers.iter();
        followers.find(|member| !member.has_led && may_lead(member)).map(|member| member.caller)
    }

    /// Make a follower the leader, and return the leader before it.
    pub(crate) fn pass_to(&mut self, next: Caller) -> Option<Member> {
        let at = self.followers.iter().position(|member| member.caller == next)?;
        let next = self.followers.remove(at);
        self.leader.replace(next)
    }

    /// Add a leader that did not begin to load in time as the last follower.
    pub(crate) fn demote(&mut self, leader: Member) {
        self.followers.push(Member { has_led: true, ..leader });
    }

    /// Record that the leader's loader starts.
    pub(crate) fn on_load_started(&mut self) {
        self.loads += 1;
    }

    /// Return whether a caller joined before the latest load started, so that any result of the
    /// load is recent enough for it.
    pub(crate) fn is_early(&self, member: Member) -> bool {
        member.loads_before < self.loads
    }

    /// Remove the leader.
    pub(crate) fn take_leader(&mut self) -> Option<Member> {
        self.leader.take()
    }

    /// Remove all followers.
    pub(crate) fn take_followers(&mut self) -> Vec<Member> {
        std::mem::take(&mut self.followers)
    }

    /// Remove the followers that joined after the latest load started, if one has.
    pub(crate) fn take_late_followers(&mut self) -> Vec<Member> {
        if self.loads == 0 {
            return Vec::new();
        }
        let all = self.take_followers();
        let (early, late) = all.into_iter().partition(|member| self.is_early(*member));
        self.followers = early;
        late
    }

    /// Remove the followers that joined before the latest load started.
    pub(crate) fn take_early_followers(&mut self) -> Vec<Member> {
        let loads = self.loads;
        self.take_followers_if(|member| member.loads_before < loads)
    }

    /// Remove the followers that `is_wanted` names.
    pub(crate) fn take_followers_if(&mut self, is_wanted: impl Fn(&Member) -> bool) -> Vec<Member> {
        self.followers.extract_if(.., |member| is_wanted(member)).collect()
    }

    /// Record that a follower has left.
    ///
    /// The list is cleaned up once half of its members may have left, so followers that leave one
    /// by one cost amortized constant time each.
    pub(crate) fn on_departed(&mut self, is_here: impl Fn(OpId) -> bool) {
        self.departed += 1;
        if self.departed * 2 > self.followers.len() {
            self.followers.retain(|member| is_here(member.caller.op));
            self.departed = 0;
        }
    }
}

/// The flights of this process, by id and by key.
#[derive(Debug)]
pub(crate) struct Flights<F> {
    flights: Slab<Flight<F>>,
    by_key: HashTable<u32>,
    hasher: SeedableRandomState,
    /// The generation of the flight that started last.
    generation: u32,
}

impl<F> Flights<F> {
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        Self { flights: Slab::new(), by_key: HashTable::new(), hasher, generation: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(crate) fn get(&self, id: FlightId) -> Option<&Flight<F>> {
        self.flights.get(id.index as usize).filter(|flight| flight.generation == id.generation)
    }

    pub(crate) fn get_mut(&mut self, id: FlightId) -> Option<&mut Flight<F>> {
        let flight = self.flights.get_mut(id.index as usize);
        flight.filter(|flight| flight.generation == id.generation)
    }

    /// Return the hash of a key.
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<FlightId> {
        self.find_hashed(self.hash(key), key)
    }

    pub(crate) fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<FlightId> {
        let found = self.by_key.find(hash, |&id| self.flights[id as usize].key.as_bytes() == key);
        found.map(|&index| self.id(index as usize))
    }

    fn id(&self, index: usize) -> FlightId {
        FlightId { index: index as u32, generation: self.flights[index].generation }
    }

    /// Start a flight that later callers of `key`, which has this hash, find.
    pub(crate) fn start(&mut self, hash: u64, key: Key, fetch: F, leader: Caller) -> FlightId {
        let leader = Some(Member::new(leader, 0));
        // One bit stays free for the tokens of flights.
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let generation = self.generation;
        let flight = Flight {
            key,
            fetch,
            leader,
            followers: Vec::new(),
            loads: 0,
            departed: 0,
            listed: true,
            generation,
            hash,
        };
        // Each flight belongs to a call, and the number of calls in flight is limited far below
        // 2^32.
        let index = self.flights.insert(flight) as u32;
        let Self { flights, by_key, .. } = self;
        by_key.insert_unique(hash, index, |&index| flights[index as usize].hash);
        FlightId { index, generation }
    }

    /// Hide the flight from later callers of its key. Its callers stay.
    pub(crate) fn unlist(&mut self, id: FlightId) {
        let Some(flight) = self.get_mut(id) else { return };
        if std::mem::replace(&mut flight.listed, false) {
            let hash = flight.hash;
            if let Ok(entry) = self.by_key.find_entry(hash, |&other| other == id.index) {
                entry.remove();
            }
        }
    }

    /// Remove a flight and return it.
    pub(crate) fn end(&mut self, id: FlightId) -> Option<Flight<F>> {
        self.unlist(id);
        self.get(id)?;
        self.flights.try_remove(id.index as usize)
    }

    /// Return the flights whose fetch `is_wanted`, oldest slot first.
    pub(crate) fn select(&self, is_wanted: impl Fn(&F) -> bool) -> Vec<FlightId> {
        let wanted = self.flights.iter().filter(|(_, flight)| is_wanted(&flight.fetch));
        wanted.map(|(index, _)| self.id(index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(index: u32) -> Caller {
        Caller { op: OpId { index, generation: 0 }, slot: 0 }
    }

    fn start<F>(flights: &mut Flights<F>, key: &str, fetch: F, leader: Caller) -> FlightId {
        flights.start(flights.hash(key.as_bytes()), Key::from(key), fetch, leader)
    }

    #[test]
    fn a_caller_is_early_for_the_loads_that_start_after_it_has_joined() {
        let mut flights = Flights::new(1);
        let id = start(&mut flights, "k", (), caller(1));
        let flight = flights.get_mut(id).unwrap();
        flight.follow(caller(2));
        flight.on_load_started();
        flight.follow(caller(3));
        let late = flight.take_late_followers();
        assert_eq!(late.iter().map(|member| member.caller).collect::<Vec<_>>(), [caller(3)]);
        flight.follow(caller(3));
        flight.on_load_started();
        assert_eq!(flight.take_late_followers(), []);
        flight.succeed(|op| op == caller(3).op);
        assert_eq!((flight.leader(), flight.take_followers()), (Some(caller(3)), Vec::new()));
    }

    #[test]
    fn an_unlisted_flight_goes_on_while_another_starts_under_its_key() {
        let mut flights = Flights::new(1);
        let first = start(&mut flights, "k", "first", caller(1));
        assert_eq!(flights.find(b"k"), Some(first));
        flights.unlist(first);
        assert_eq!(flights.find(b"k"), None);
        let second = start(&mut flights, "k", "second", caller(2));
        assert_eq!(flights.find(b"k"), Some(second));
        assert_eq!(flights.end(first).unwrap().fetch, "first");
        assert_eq!(flights.find(b"k"), Some(second));
        assert_eq!(flights.select(|fetch| *fetch == "second"), [second]);
        assert!(flights.end(second).is_some());
        assert_eq!((flights.find(b"k"), flights.len()), (None, 0));
    }

    #[test]
    fn the_id_of_an_ended_flight_never_names_a_later_one() {
        let mut flights = Flights::new(1);
        let first = start(&mut flights, "a", "first", caller(1));
        assert!(flights.end(first).is_some());
        let second = start(&mut flights, "b", "second", caller(2));
        assert_eq!(first.index, second.index);
        assert!(flights.get(first).is_none() && flights.end(first).is_none());
        flights.unlist(first);
        assert_eq!(flights.find(b"b"), Some(second));
    }
}
