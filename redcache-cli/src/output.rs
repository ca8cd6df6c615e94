//! The two forms of the output: text, and one JSON object per line.

use std::io::{self, Write};

use serde_json::Value;

use crate::arguments::Options;
use crate::exit::{Exit, Failure};

/// The place of the results.
pub(crate) struct Output<'a> {
    out: &'a mut dyn Write,
    is_json: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, options: &Options) -> Self {
        Self { out, is_json: options.is_json }
    }

    /// Write a result in the form that the caller of the program has chosen.
    ///
    /// # Errors
    ///
    /// Fails if the output is closed.
    pub(crate) fn write(
        &mut self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> Value,
    ) -> Result<(), Failure> {
        let line = if self.is_json { json().to_string() } else { text() };
        let written = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        written.map_err(|error: io::Error| {
            Failure::new(Exit::Usage, format!("the output cannot be written: {error}"))
        })
    }
}

/// Return text with each character escaped that a terminal might interpret.
pub(crate) fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let escape = |c: char| -> String {
                if c.is_control() { c.escape_default().collect() } else { c.into() }
            };
            text.chars().map(escape).collect()
        }
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        assert_eq!(printable("münchen \u{1b}[2J".as_bytes()), "münchen \\u{1b}[2J");
        assert_eq!(printable(b"a\xff"), "a\\xff");
    }
}
