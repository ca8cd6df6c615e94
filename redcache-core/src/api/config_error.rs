//! The error of an invalid setting.

use std::fmt;

/// An invalid setting. The text names the option and the allowed values. It quotes the given value
/// only where the value cannot be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ConfigError {
    option: String,
    text: String,
}

impl ConfigError {
    pub(crate) fn new(option: &str, value: impl fmt::Display, allowed: &str) -> Self {
        let text = format!("option `{option}` cannot be `{value}`: allowed is {allowed}");
        Self { option: option.to_owned(), text }
    }

    /// Return an error about `option`, in a text that does not quote the given value.
    pub(super) fn unquoted(option: &str, text: impl Into<String>) -> Self {
        Self { option: option.to_owned(), text: text.into() }
    }

    /// Return the name of the option, or `host`, `port`, `path` or `url` for that part of a URL.
    pub fn option(&self) -> &str {
        &self.option
    }
}
