//! The results of a batch call.

/// Results that arrive one by one, in any order.
#[derive(Debug)]
pub(crate) struct Gather<T, E> {
    results: Vec<Option<Result<T, E>>>,
    open: usize,
}

impl<T, E> Gather<T, E> {
    pub(crate) fn new(keys: usize) -> Self {
        let mut results = Vec::new();
        results.resize_with(keys, || None);
        Self { results, open: keys }
    }

    /// Add one result. Return all results after the last.
    pub(crate) fn put(&mut self, slot: u32, result: Result<T, E>) -> Option<Vec<Result<T, E>>> {
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

    /// Return all results, with a value of `make` for each missing one.
    pub(crate) fn fill(self, make: impl Fn() -> Result<T, E>) -> Vec<Result<T, E>> {
        self.results.into_iter().map(|result| result.unwrap_or_else(&make)).collect()
    }

    /// Return the slots without a result.
    pub(crate) fn open(&self) -> Vec<u32> {
        // `keys_max` limits the number of slots.
        let slots = (0..).zip(&self.results);
        slots.filter(|(_, result)| result.is_none()).map(|(slot, _)| slot).collect()
    }
}
