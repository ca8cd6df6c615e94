//! The calls that fetch.

use std::time::Instant;
use std::vec;

use crate::api::answer::Answer;
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::options::LoadOptions;
use crate::engine::gather::Gather;
use crate::event::Outcome;
use crate::flow::call::Caller;
use crate::flow::flights::FlightId;

/// The largest number of parts in which the keys of a batch start.
const PARTS_MAX: usize = 4;

/// A call with a loader.
#[derive(Debug)]
pub(super) enum FetchCall {
    /// `get_with`. It has no flight while it joins one. Its value must have been current at
    /// `fresh_since` or later.
    One { flight: Option<FlightId>, fresh_since: Option<Instant> },
    /// `get_many_with`.
    Many(Box<Batch>),
}

/// A batch that fetches keys and loads the missing ones, a few at a time as they become free.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) answers: Gather<Answer, CallError>,
    /// The instant at which the values must have been current, or later.
    pub(super) fresh_since: Option<Instant>,
    pub(super) options: LoadOptions,
    /// The keys of the last slots, which are not started yet.
    pub(super) rest: vec::IntoIter<Key>,
    /// The number of keys that start at the same time.
    pub(super) part: usize,
    /// The flight of each slot that is started. Equal keys share a flight.
    pub(super) flights: Vec<FlightId>,
    /// The number of flights that the batch leads and that await a reply. The load starts once
    /// there are none.
    pub(super) reading: usize,
    pub(super) to_load: Vec<u32>,
    pub(super) loading: Vec<(Key, u32)>,
    pub(super) load_started: Option<Instant>,
}

impl FetchCall {
    /// Return the flights of the keys without an answer, with the slots of these keys.
    pub(super) fn open_flights(&self) -> Vec<(FlightId, u32)> {
        match self {
            Self::One { flight, .. } => flight.map(|flight| (flight, 0)).into_iter().collect(),
            Self::Many(batch) => {
                let flight = |slot: u32| Some((*batch.flights.get(slot as usize)?, slot));
                batch.answers.open().into_iter().filter_map(flight).collect()
            }
        }
    }

    /// Return the instant at which the values of the call must have been current, or later.
    pub(super) fn fresh_since(&self) -> Option<Instant> {
        match self {
            Self::One { fresh_since, .. } => *fresh_since,
            Self::Many(batch) => batch.fresh_since,
        }
    }

    /// Record the flight that a caller of this call has joined.
    pub(super) fn set_flight(&mut self, caller: Caller, id: FlightId) {
        match self {
            Self::One { flight, .. } => *flight = Some(id),
            Self::Many(batch) => {
                if let Some(flight) = batch.flights.get_mut(caller.slot as usize) {
                    *flight = id;
                }
            }
        }
    }

    /// Return the outcome of a call that ends with an error.
    pub(super) fn failed(self, error: &Error) -> Outcome {
        let failed = || Err(CallError::Cache(error.clone()));
        match self {
            Self::One { .. } => Outcome::Answer(failed()),
            Self::Many(batch) => Outcome::Answers(batch.answers.fill(failed)),
        }
    }
}

impl Batch {
    /// Return whether all keys are started.
    pub(super) fn is_started(&self) -> bool {
        self.rest.as_slice().is_empty()
    }

    /// Create a batch that starts in parts of at least `part_min` keys.
    pub(super) fn new(
        keys: Vec<Key>,
        options: LoadOptions,
        fresh_since: Option<Instant>,
        part_min: usize,
    ) -> Self {
        Self {
            answers: Gather::new(keys.len()),
            fresh_since,
            options,
            part: keys.len().div_ceil((keys.len() / part_min).clamp(1, PARTS_MAX)),
            flights: Vec::with_capacity(keys.len()),
            rest: keys.into_iter(),
            reading: 0,
            to_load: Vec::new(),
            loading: Vec::new(),
            load_started: None,
        }
    }
}
