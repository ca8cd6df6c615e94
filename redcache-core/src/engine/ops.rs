//! The table of calls in flight, and each machine's share of it.

use std::time::{Duration, Instant};

use slab::Slab;

use crate::flow::call::OpId;

/// The machine that serves a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// `get`, `get_many`, `insert`, `insert_many`, `remove`, `touch` and their batches.
    Plain,
    /// `get_with`, `get_many_with`.
    Fetches,
    /// `insert_with`, `insert_many_with`.
    Writes,
    /// A run of a registered loader.
    Refreshes,
    /// Removals that are repeated.
    Removals,
    /// Reads that check near hits.
    Audits,
}

/// The time limit of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeout {
    pub(crate) at: Instant,
    pub(crate) after: Duration,
}

#[derive(Debug)]
struct Record {
    generation: u32,
    machine: Machine,
    timeout: Option<Timeout>,
    reports_steps: bool,
}

/// The calls in flight: their ids, machines and time limits.
#[derive(Debug, Default)]
pub(crate) struct Ops {
    records: Slab<Record>,
    generation: u32,
    /// Calls that begin report their steps.
    reports_steps: bool,
}

impl Ops {
    pub(crate) fn insert(&mut self, machine: Machine) -> OpId {
        // The tokens of flights need one bit.
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let generation = self.generation;
        // The number of calls in flight is limited far below 2^32.
        let reports_steps = self.reports_steps;
        let record = Record { generation, machine, timeout: None, reports_steps };
        let index = self.records.insert(record) as u32;
        OpId { index, generation }
    }

    /// Return the call's machine; `None` if the call has ended.
    pub(crate) fn machine(&self, id: OpId) -> Option<Machine> {
        let record = self.records.get(id.index as usize)?;
        (record.generation == id.generation).then_some(record.machine)
    }

    /// Set whether calls that begin from now on report their steps.
    pub(crate) fn report_steps(&mut self, wanted: bool) {
        self.reports_steps = wanted;
    }

    /// Return whether the call reports its steps.
    pub(crate) fn reports_steps(&self, id: OpId) -> bool {
        let record = self.records.get(id.index as usize);
        record.is_some_and(|it| it.generation == id.generation && it.reports_steps)
    }

    fn record_mut(&mut self, id: OpId) -> Option<&mut Record> {
        self.records.get_mut(id.index as usize).filter(|it| it.generation == id.generation)
    }

    /// Set the call's time limit. Return `false` if the call has ended.
    pub(crate) fn set_timeout(&mut self, id: OpId, timeout: Timeout) -> bool {
        let record = self.record_mut(id);
        record.map(|record| record.timeout = Some(timeout)).is_some()
    }

    pub(crate) fn take_timeout(&mut self, id: OpId) -> Option<Timeout> {
        self.record_mut(id)?.timeout.take()
    }

    /// Remove the call. Return its time limit, which the caller has to disarm.
    pub(crate) fn remove(&mut self, id: OpId) -> Option<Timeout> {
        let timeout = self.record_mut(id)?.timeout.take();
        self.records.remove(id.index as usize);
        timeout
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Return all calls in the order of their slots.
    pub(crate) fn ids(&self) -> Vec<OpId> {
        let id = |(index, record): (usize, &Record)| OpId {
            index: index as u32,
            generation: record.generation,
        };
        self.records.iter().map(id).collect()
    }
}

/// A machine's own data for its calls, found by their slots.
#[derive(Debug)]
pub(crate) struct OpMap<T> {
    slots: Vec<Option<(u32, T)>>,
}

impl<T> Default for OpMap<T> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<T> OpMap<T> {
    pub(crate) fn insert(&mut self, id: OpId, data: T) {
        if self.slots.len() <= id.index() {
            self.slots.resize_with(id.index() + 1, || None);
        }
        self.slots[id.index()] = Some((id.generation, data));
    }

    pub(crate) fn get(&self, id: OpId) -> Option<&T> {
        let (generation, data) = self.slots.get(id.index())?.as_ref()?;
        (*generation == id.generation).then_some(data)
    }

    pub(crate) fn get_mut(&mut self, id: OpId) -> Option<&mut T> {
        let (generation, data) = self.slots.get_mut(id.index())?.as_mut()?;
        (*generation == id.generation).then_some(data)
    }

    pub(crate) fn contains(&self, id: OpId) -> bool {
        self.get(id).is_some()
    }

    pub(crate) fn remove(&mut self, id: OpId) -> Option<T> {
        let slot = self.slots.get_mut(id.index())?;
        slot.take_if(|(generation, _)| *generation == id.generation).map(|(_, data)| data)
    }

    /// Return the data of all calls in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|(_, data)| data)
    }

    /// Return all calls of the machine in the order of their slots.
    pub(crate) fn ids(&self) -> Vec<OpId> {
        let id = |(index, slot): (u32, &Option<(u32, T)>)| {
            slot.as_ref().map(|&(generation, _)| OpId { index, generation })
        };
        (0..).zip(&self.slots).filter_map(id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_not_found_by_the_id_of_the_one_before_it_in_its_slot() {
        let (mut ops, mut map) = (Ops::default(), OpMap::default());
        let first = ops.insert(Machine::Plain);
        map.insert(first, "first");
        assert_eq!(ops.remove(first).map(|it| it.after), None);
        assert_eq!(map.remove(first), Some("first"));
        let second = ops.insert(Machine::Writes);
        map.insert(second, "second");
        assert_eq!((first.index, ops.machine(first), map.get(first)), (second.index, None, None));
        assert_eq!(map.remove(first), None);
        assert_eq!((ops.machine(second), map.ids()), (Some(Machine::Writes), vec![second]));
        assert_eq!((ops.ids(), ops.len()), (vec![second], 1));
    }
}
