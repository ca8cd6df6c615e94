//! The table that the readers load from, and the record of its changes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Connection;

use crate::Failure;

/// The number of rows.
pub(super) const ROWS: usize = 64;

/// The rows of a table. The value of a row is the number of its changes.
pub(super) struct Rows {
    /// The key of each row.
    pub(super) names: Vec<String>,
    rows: Vec<Mutex<Row>>,
}

#[derive(Default)]
struct Row {
    version: usize,
    /// The times at which the removals of the key were acknowledged, one per change.
    removed_at: Vec<Instant>,
}

impl Rows {
    pub(super) fn new(prefix: &str) -> Self {
        let names = (0..ROWS).map(|row| format!("staleness:{prefix}:{row}")).collect();
        Self { names, rows: (0..ROWS).map(|_| Mutex::default()).collect() }
    }

    /// Change a row, and remove its key afterwards.
    pub(super) fn change(&self, row: usize, connection: &mut Connection) -> Result<(), Failure> {
        self.with(row, |row| row.version += 1);
        redis::cmd("DEL").arg(&self.names[row]).query::<()>(connection)?;
        let now = Instant::now();
        self.with(row, |row| row.removed_at.push(now));
        Ok(())
    }

    /// Load a row.
    pub(super) fn load(&self, row: usize) -> String {
        self.with(row, |row| row.version.to_string())
    }

    /// Return the age of a read of this version at its start; `None` if the read was not stale.
    pub(super) fn staleness(&self, row: usize, version: usize, at: Instant) -> Option<Duration> {
        let next = self.with(row, |row| row.removed_at.get(version).copied())?;
        at.checked_duration_since(next).filter(|age| !age.is_zero())
    }

    fn with<T>(&self, row: usize, with: impl FnOnce(&mut Row) -> T) -> T {
        with(&mut self.rows[row].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_stale_from_the_removal_of_the_next_version_on() {
        let rows = Rows::new("test");
        let at = Instant::now();
        let second = Duration::from_secs(1);
        rows.with(0, |row| *row = Row { version: 1, removed_at: vec![at] });
        assert_eq!(rows.staleness(0, 0, at), None);
        assert_eq!(rows.staleness(0, 0, at + second), Some(second));
        assert_eq!(rows.staleness(0, 1, at + second), None);
        assert_eq!(rows.load(0), "1");
    }
}
