//! The commit of a change: a row in a file.

use std::fs;
use std::time::Duration;

/// A new content for a file, between two pauses.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) file: String,
    pub(crate) row: String,
    pub(crate) pause: Duration,
}

impl Commit {
    /// Replace the content of the file as a whole.
    pub(crate) fn write(&self) -> Result<(), String> {
        let new = format!("{}.new", self.file);
        let written = fs::write(&new, &self.row).and_then(|()| fs::rename(&new, &self.file));
        written.map_err(|error| format!("`{}` cannot be written: {error}", self.file))
    }
}
