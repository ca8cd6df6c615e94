//! Standard output.

use std::io::{self, Write};

/// Write a line.
pub(crate) fn say(text: &str) {
    // A closed output is ignored.
    let _ = writeln!(io::stdout(), "{text}");
}
