//! The record of a type: its facts, and the choices for the next run.

use std::collections::{BTreeMap, BTreeSet};

/// The facts about a type, and the choices for the next run.
#[derive(Debug, Default)]
pub(super) struct Record {
    facts: BTreeSet<String>,
    /// The names that lead to the current place.
    path: Vec<&'static str>,
    depth: usize,
    /// The number of samples given in this run.
    samples: usize,
    /// The number of the sample to give at each place, if it is not the first.
    choices: BTreeMap<usize, usize>,
    /// The number of variants of each enum, and the number of tried ones.
    variants: BTreeMap<&'static str, (usize, usize)>,
}

/// The number of samples of each kind.
const SAMPLES: usize = 6;

/// The depth below which options and sequences are empty.
const DEPTH_MAX: usize = 24;

impl Record {
    pub(super) fn begin_run(&mut self) {
        self.path.clear();
        (self.depth, self.samples) = (0, 0);
    }

    /// Choose the samples of the next run. Return `false` if nothing is left.
    pub(super) fn plan_next_run(&mut self, is_accepted: bool) -> bool {
        if !is_accepted && let Some(last) = self.samples.checked_sub(1) {
            let choice = self.choices.entry(last).or_default();
            *choice += 1;
            if *choice < SAMPLES {
                return true;
            }
        }
        self.choices.clear();
        self.variants.values().any(|(count, tried)| tried < count)
    }

    /// Add a fact about the current place.
    pub(super) fn note(&mut self, fact: impl std::fmt::Display) {
        let fact = format!("{}: {fact}", self.path.join("."));
        self.facts.insert(fact);
    }

    /// Return the number of the next sample.
    pub(super) fn sample(&mut self) -> usize {
        let place = self.samples;
        self.samples += 1;
        self.choices.get(&place).copied().unwrap_or(0)
    }

    /// Return the variant of an enum to try.
    pub(super) fn variant(&mut self, name: &'static str, count: usize) -> usize {
        let (_, tried) = self.variants.entry(name).or_insert((count, 0));
        let next = *tried;
        if next < count {
            *tried += 1;
            return next;
        }
        // A variant that contains its enum is rarely the last.
        count.saturating_sub(1)
    }

    pub(super) fn enter(&mut self, name: &'static str) {
        self.path.push(name);
        self.depth += 1;
    }

    pub(super) fn leave(&mut self) {
        self.path.pop();
        self.depth -= 1;
    }

    /// Return whether the type seems to contain itself.
    pub(super) fn is_deep(&self) -> bool {
        self.depth >= DEPTH_MAX || self.repeats()
    }

    /// Return whether the last name is in the path several times.
    fn repeats(&self) -> bool {
        let last = self.path.last();
        last.is_some_and(|last| self.path.iter().filter(|name| *name == last).count() > 2)
    }

    pub(super) fn hash(&self) -> u64 {
        let mut hash = sha1_smol::Sha1::new();
        for fact in &self.facts {
            hash.update(fact.as_bytes());
            hash.update(b"\n");
        }
        let [a, b, c, d, e, f, g, h, ..] = hash.digest().bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}
