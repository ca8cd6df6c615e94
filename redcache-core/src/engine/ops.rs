//! The table of calls in flight.

use std::time::{Duration, Instant};

use slab::Slab;

use super::refresh::Job;
use super::set::SetMany;
use crate::api::answer::Answer;
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::flow::flights::{FlightId, OpId};

/// A call and what it waits for.
#[derive(Debug)]
pub(super) enum Op {
    /// `get`.
    Read,
    /// `get_many`.
    ReadMany(Gather<Answer, CallError>),
    /// `get_with`.
    Fetch { flight: FlightId },
    /// `get_many_with`.
    FetchMany(Box<FetchMany>),
    /// `insert_with`, `insert_many_with`.
    Set(Box<SetMany>),
    /// A run of a registered loader.
    Refresh(Box<Job>),
    /// `insert`, `remove`, `touch`.
    Write,
    /// `insert_many`, `remove_many`, `touch_many`.
    WriteMany(Gather<bool, Error>),
}

/// Results that come in one by one, in any order.
#[derive(Debug)]
pub(super) struct Gather<T, E> {
    results: Vec<Option<Result<T, E>>>,
    open: usize,
}

impl<T, E> Gather<T, E> {
    pub(super) fn new(keys: usize) -> Self {
        let mut results = Vec::new();
        results.resize_with(keys, || None);
        Self { results, open: keys }
    }

    /// Takes one result; gives all with the last one.
    pub(super) fn put(&mut self, slot: u32, result: Result<T, E>) -> Option<Vec<Result<T, E>>> {
        let place = self.results.get_mut(slot as usize)?;
        if place.replace(result).is_none() {
            self.open -= 1;
        }
        if self.open > 0 {
            return None;
        }
        if mutant!(CrossedAnswers) && self.results.len() > 1 {
            let last = self.results.len() - 1;
            self.results.swap(last - 1, last);
        }
        Some(std::mem::take(&mut self.results).into_iter().flatten().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// Gives all results, the missing ones made by `make`.
    pub(super) fn fill(self, make: impl Fn() -> Result<T, E>) -> Vec<Result<T, E>> {
        self.results.into_iter().map(|result| result.unwrap_or_else(&make)).collect()
    }

    /// The slots that have no result yet.
    pub(super) fn open(&self) -> Vec<u32> {
        // As many as the call has keys, which `keys_max` bounds.
        (0..)
            .zip(&self.results)
            .filter(|(_, result)| result.is_none())
            .map(|(slot, _)| slot)
            .collect()
    }
}

/// A batch that fetches keys and loads what is missing, a few keys at a time as they become free.
#[derive(Debug)]
pub(super) struct FetchMany {
    pub(super) answers: Gather<Answer, CallError>,
    /// The flight of each key; of duplicates too.
    pub(super) flights: Vec<FlightId>,
    /// How many of the flights that it leads wait for an answer of Redis. While there are any, the load waits for
    /// company.
    pub(super) reading: usize,
    pub(super) to_load: Vec<u32>,
    pub(super) loading: Vec<(Key, u32)>,
    pub(super) load_started: Option<Instant>,
}

impl FetchMany {
    /// The flights of the keys that have no answer yet, and which keys these are.
    pub(super) fn open_flights(&self) -> Vec<(FlightId, u32)> {
        let flight = |slot: u32| self.flights.get(slot as usize).map(|&flight| (flight, slot));
        self.answers.open().into_iter().filter_map(flight).collect()
    }
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    op: Op,
    deadline: Option<Deadline>,
}

/// When a call has to be over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) after: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Ops {
    ops: Slab<Entry>,
    generation: u32,
}

impl Ops {
    pub(super) fn insert(&mut self, op: Op) -> OpId {
        // One bit stays free for the tokens of flights.
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let generation = self.generation;
        OpId { index: self.ops.insert(Entry { generation, op, deadline: None }) as u32, generation }
    }

    pub(super) fn get_mut(&mut self, id: OpId) -> Option<&mut Op> {
        self.entry_mut(id).map(|entry| &mut entry.op)
    }

    fn entry_mut(&mut self, id: OpId) -> Option<&mut Entry> {
        self.ops.get_mut(id.index as usize).filter(|entry| entry.generation == id.generation)
    }

    pub(super) fn set_deadline(&mut self, id: OpId, deadline: Deadline) {
        if let Some(entry) = self.entry_mut(id) {
            entry.deadline = Some(deadline);
        }
    }

    pub(super) fn take_deadline(&mut self, id: OpId) -> Option<Deadline> {
        self.entry_mut(id)?.deadline.take()
    }

    pub(super) fn contains(&self, id: OpId) -> bool {
        self.ops.get(id.index as usize).is_some_and(|entry| entry.generation == id.generation)
    }

    pub(super) fn remove(&mut self, id: OpId) -> Option<Op> {
        if !self.contains(id) {
            return None;
        }
        self.ops.try_remove(id.index as usize).map(|entry| entry.op)
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    /// The calls that write under a lock.
    pub(super) fn sets(&self) -> Vec<OpId> {
        self.select(|op| matches!(op, Op::Set(_)))
    }

    pub(super) fn ids(&self) -> Vec<OpId> {
        self.select(|_| true)
    }

    fn select(&self, is_wanted: impl Fn(&Op) -> bool) -> Vec<OpId> {
        let wanted = self.ops.iter().filter(|(_, entry)| is_wanted(&entry.op));
        let id = |(index, entry): (usize, &Entry)| OpId {
            index: index as u32,
            generation: entry.generation,
        };
        wanted.map(id).collect()
    }
}
