//! The outcome of a call, and its line of output.

use std::fmt::Display;
use std::time::Duration;

use redcache_driver::{Answer, Error, ErrorKind, Stats};
use serde_json::{Map, Value, json};

use crate::adapter::PerKey;
use crate::field::written;

/// The outcome of a call: its value and source, or its error.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ok { value: Value, source: Value, errors: Map<String, Value> },
    Failed { error: String, kind: String },
}

impl Outcome {
    pub(crate) fn ok(value: impl Into<Value>) -> Self {
        Self::Ok { value: value.into(), source: Value::Null, errors: Map::new() }
    }

    pub(crate) fn failed(kind: &str, error: impl Display) -> Self {
        Self::Failed { error: error.to_string(), kind: kind.to_owned() }
    }

    /// Return the line, with the runs of the loader and the time that the call took.
    pub(crate) fn line(self, id: Value, loads: u32, took: Duration) -> Value {
        let ms = took.as_micros() as f64 / 1e3;
        let mut line = json!({ "id": id, "source": null, "loads": loads, "ms": ms });
        match self {
            Self::Ok { value, source, errors } => {
                line["ok"] = value;
                line["source"] = source;
                if !errors.is_empty() {
                    line["errors"] = errors.into();
                }
            }
            Self::Failed { error, kind } => {
                line["error"] = error.into();
                line["kind"] = kind.into();
            }
        }
        line
    }

    pub(crate) fn of_written<T: Into<Value>, E: Into<Error>>(result: Result<T, E>) -> Self {
        result.map_or_else(Self::of_error, Self::ok)
    }

    pub(crate) fn of_read<E: Into<Error>>(result: Result<Answer, E>) -> Self {
        match result {
            Ok(answer) => {
                let (value, source) = (value(&answer), answer.source.as_str().into());
                Self::Ok { value, source, errors: Map::new() }
            }
            Err(error) => Self::of_error(error),
        }
    }

    /// Return the outcome of a batch, which fails as a whole only if no key was answered.
    pub(crate) fn of_batch(keys: Vec<String>, results: PerKey) -> Self {
        let results = match results {
            Ok(results) => results,
            Err(error) => return Self::of_error(error),
        };
        let (mut values, mut sources, mut errors) = (Map::new(), Map::new(), Map::new());
        let mut first_error = None;
        for (key, result) in keys.into_iter().zip(results) {
            match result {
                Ok(answer) => {
                    sources.insert(key.clone(), answer.source.as_str().into());
                    values.insert(key, value(&answer));
                }
                Err(error) => {
                    errors.insert(key, error.to_string().into());
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) if values.is_empty() => Self::of_error(error),
            _ => Self::Ok { value: values.into(), source: sources.into(), errors },
        }
    }

    fn of_error(error: impl Into<Error>) -> Self {
        let error = error.into();
        let kind = match error.kind() {
            ErrorKind::LoadFailed => "Load".to_owned(),
            kind => format!("{kind:?}"),
        };
        Self::Failed { error: error.to_string(), kind }
    }

    pub(crate) fn of_stats(stats: &Stats) -> Self {
        Self::ok(counters(stats))
    }
}

fn value(answer: &Answer) -> Value {
    answer.value.as_ref().map_or(Value::Null, |value| written(value))
}

/// Return every counter by its name, read from its debug text so that no new counter is missing. A
/// duration is text.
fn counters(stats: &Stats) -> Value {
    let text = format!("{stats:?}");
    let fields = text.trim_start_matches("Stats {").trim_end_matches('}').split(", ");
    let pairs = fields.filter_map(|field| {
        let (name, text) = field.split_once(": ")?;
        let text = text.trim();
        let number = text.parse::<u64>().map_or_else(|_| text.into(), Value::from);
        Some((name.trim().to_owned(), number))
    });
    Value::Object(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_name() {
        let mut stats = Stats::default();
        (stats.near_hits, stats.timers) = (1, 2);
        let counters = counters(&stats);
        assert_eq!((&counters["near_hits"], &counters["timers"]), (&json!(1), &json!(2)));
        assert_eq!(counters["audit_age_max"], json!("0ns"));
        let count = format!("{stats:?}").matches(": ").count();
        assert_eq!(counters.as_object().unwrap().len(), count, "{counters}");
    }
}
