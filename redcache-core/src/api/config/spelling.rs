//! The spelling of the value of a setting in a URL, in the table of settings and in an error.

use std::fmt::{self, Debug};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use crate::api::config_error::ConfigError;
use crate::api::secret::Secret;

/// A way of writing values of type `T`.
pub(super) trait Spelling<T> {
    /// The form of a readable text; empty if the allowed values describe it completely.
    const EXPECTED: &'static str;

    fn parse(text: &str) -> Option<T>;

    /// Return the value for an error text.
    fn show(value: &T) -> String;
}

/// Read the value of an option.
pub(super) fn parse<S: Spelling<T>, T>(
    option: &str,
    text: &str,
    allowed: &str,
) -> Result<T, ConfigError> {
    S::parse(text).ok_or_else(|| match S::EXPECTED {
        "" => ConfigError::new(option, text, allowed),
        expected => ConfigError::new(option, text, &format!("{expected}, {allowed}")),
    })
}

/// Reject a value outside of `allowed`, which reads `LEAST to MOST` or `LEAST or more`.
pub(super) fn check_range<S: Spelling<T>, T: PartialOrd>(
    option: &str,
    value: &T,
    allowed: &str,
) -> Result<(), ConfigError> {
    let (least, most) = match allowed.split_once(" to ") {
        Some((least, most)) => (least, Some(most)),
        None => (allowed.trim_end_matches(" or more"), None),
    };
    let is_allowed = S::parse(least).is_none_or(|least| *value >= least)
        && most.and_then(S::parse).is_none_or(|most| *value <= most);
    if is_allowed { Ok(()) } else { Err(ConfigError::new(option, S::show(value), allowed)) }
}

/// A duration: a whole number with a unit.
pub(super) struct Time;

impl Spelling<Duration> for Time {
    const EXPECTED: &'static str = "a whole number with a unit (us, ms, s, m, h, d)";

    fn parse(text: &str) -> Option<Duration> {
        let (count, unit) = count_and_unit(text)?;
        let us_per_unit = match unit {
            "us" => 1,
            "ms" => 1000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        count.checked_mul(us_per_unit).map(Duration::from_micros)
    }

    fn show(value: &Duration) -> String {
        format!("{value:?}")
    }
}

/// A number of bytes, with or without a unit.
pub(super) struct Size;

impl<N: TryFrom<u64> + fmt::Display> Spelling<N> for Size {
    const EXPECTED: &'static str = "a whole number of bytes or with a unit (KiB, MiB, GiB)";

    fn parse(text: &str) -> Option<N> {
        let (count, unit) = count_and_unit(text)?;
        let unit: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        count.checked_mul(unit)?.try_into().ok()
    }

    fn show(value: &N) -> String {
        value.to_string()
    }
}

/// A number.
pub(super) struct Count;

impl<N: FromStr + fmt::Display> Spelling<N> for Count {
    const EXPECTED: &'static str = "a whole number";

    fn parse(text: &str) -> Option<N> {
        text.parse().ok()
    }

    fn show(value: &N) -> String {
        value.to_string()
    }
}

/// A text.
pub(super) struct Text;

impl Spelling<String> for Text {
    const EXPECTED: &'static str = "";

    fn parse(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn show(value: &String) -> String {
        value.clone()
    }
}

/// A text that may be absent, which the table spells as the empty text.
pub(super) struct OptionalText;

impl Spelling<Option<String>> for OptionalText {
    const EXPECTED: &'static str = "";

    fn parse(text: &str) -> Option<Option<String>> {
        Some(Some(text.to_owned()))
    }

    fn show(value: &Option<String>) -> String {
        value.clone().unwrap_or_default()
    }
}

/// A password that may be absent.
pub(super) struct Password;

impl Spelling<Option<Secret>> for Password {
    const EXPECTED: &'static str = "";

    fn parse(text: &str) -> Option<Option<Secret>> {
        Some(Some(Secret::new(text)))
    }

    fn show(value: &Option<Secret>) -> String {
        format!("{value:?}")
    }
}

/// Bytes that a text spells.
pub(super) struct Payload;

impl Spelling<Bytes> for Payload {
    const EXPECTED: &'static str = "";

    fn parse(text: &str) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn show(value: &Bytes) -> String {
        value.escape_ascii().to_string()
    }
}

/// One of the words that name the variants of an enum.
pub(super) struct Choice;

impl<T: FromStr + Debug> Spelling<T> for Choice {
    const EXPECTED: &'static str = "";

    fn parse(text: &str) -> Option<T> {
        text.parse().ok()
    }

    fn show(value: &T) -> String {
        format!("{value:?}")
    }
}

fn count_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    Some((count.parse().ok()?, unit))
}
