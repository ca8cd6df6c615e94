//! Standard output.

use std::io::{self, Write};

/// Write a line.
pub(crate) fn say(text: &str) {
    // A reader that has gone away has seen enough.
    let _ = writeln!(io::stdout(), "{text}");
}
