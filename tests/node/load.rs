//! The instructions of a loader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redcache_driver::{Key, Loaded};
use serde_json::{Map, Value};

use crate::field::{bytes, milliseconds};

/// The result and the delay of a load, and the number of its runs.
#[derive(Debug)]
pub(crate) struct Load {
    end: End,
    delay: Duration,
    runs: Arc<AtomicU32>,
}

#[derive(Debug)]
enum End {
    Value(Bytes),
    /// The values by key; `None` for "not found".
    Values(BTreeMap<String, Option<Bytes>>),
    NotFound,
    Error(String),
    Panic,
}

impl Load {
    pub(crate) fn parse(load: &Value) -> Result<Self, String> {
        let (end, delay) = match load {
            Value::String(word) => (word_end(word)?, Duration::ZERO),
            Value::Object(fields) => {
                (end(fields)?, milliseconds(fields, "delay_ms", Duration::ZERO)?)
            }
            _ => return Err("`load` must be an object".to_owned()),
        };
        Ok(Self { end, delay, runs: Arc::default() })
    }

    /// Check that the instructions are valid for a single key.
    pub(crate) fn of_one(self) -> Result<Self, String> {
        match self.end {
            End::Values(_) => Err("`value` is missing in `load`".to_owned()),
            End::Value(_) | End::NotFound | End::Error(_) | End::Panic => Ok(self),
        }
    }

    /// Check that the instructions are valid for a batch.
    pub(crate) fn of_many(self) -> Result<Self, String> {
        match self.end {
            End::Value(_) => Err("`values` is missing in `load`".to_owned()),
            End::Values(_) | End::NotFound | End::Error(_) | End::Panic => Ok(self),
        }
    }

    /// Return the counter of runs.
    pub(crate) fn runs(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.runs)
    }

    /// Begin the load, and return the time of its end.
    pub(crate) fn begin(&self) -> Instant {
        self.runs.fetch_add(1, Ordering::Relaxed);
        Instant::now() + self.delay
    }

    /// End a load of one key.
    pub(crate) fn one(&self) -> Result<Loaded, String> {
        match &self.end {
            End::Value(value) => Ok(Loaded::value(value.clone())),
            End::NotFound => Ok(Loaded::not_found()),
            End::Error(error) => Err(error.clone()),
            End::Panic => panic_quietly(),
            End::Values(_) => unreachable!("refused when the line was read"),
        }
    }

    /// End a load of the keys in `asked` for a call that names `keys`.
    pub(crate) fn many(
        &self,
        keys: &[String],
        asked: &[Key],
    ) -> Result<Vec<(Key, Loaded)>, String> {
        let wanted = |key: &String| {
            let is_asked = asked.iter().any(|asked| asked.as_bytes() == key.as_bytes());
            is_asked || !keys.contains(key)
        };
        match &self.end {
            End::Values(values) => {
                let found = values.iter().filter(|(key, _)| wanted(key));
                Ok(found.map(|(key, value)| (key.clone().into(), value.clone().into())).collect())
            }
            End::NotFound => Ok(Vec::new()),
            End::Error(error) => Err(error.clone()),
            End::Panic => panic_quietly(),
            End::Value(_) => unreachable!("refused when the line was read"),
        }
    }
}

/// Unwind without a message: printing a trace takes longer than most loads.
fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("the loader was told to panic"))
}

fn word_end(word: &str) -> Result<End, String> {
    match word {
        "error" => Ok(End::Error("error".to_owned())),
        "panic" => Ok(End::Panic),
        "not_found" => Ok(End::NotFound),
        _ => Err(format!("`load` cannot be `{word}`")),
    }
}

fn end(fields: &Map<String, Value>) -> Result<End, String> {
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("delay_ms", _) | (_, Value::Bool(false)) => {}
            ("error", Value::String(text)) => return Ok(End::Error(text.clone())),
            ("error" | "panic" | "not_found", Value::String(_) | Value::Bool(true)) => {
                return word_end(name);
            }
            ("value", Value::Null) => return Ok(End::NotFound),
            ("value", value) => {
                let value = bytes(value).ok_or("`value` in `load` must be a string")?;
                return Ok(End::Value(value));
            }
            ("values", Value::Object(values)) => return Ok(End::Values(batch(values)?)),
            _ => return Err(format!("`load` cannot have `{name}` as {value}")),
        }
    }
    Err("`load` must have value, values, error, panic or not_found".to_owned())
}

fn batch(values: &Map<String, Value>) -> Result<BTreeMap<String, Option<Bytes>>, String> {
    let entry = |(key, value): (&String, &Value)| match value {
        Value::Null => Ok((key.clone(), None)),
        value => {
            let value = bytes(value).ok_or_else(|| format!("`{key}` in `values` is no string"))?;
            Ok((key.clone(), Some(value)))
        }
    };
    values.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ends(load: &Value) -> Result<Loaded, String> {
        Load::parse(load)?.of_one()?.one()
    }

    #[test]
    fn a_load_ends_as_instructed() {
        assert_eq!(ends(&json!({"value": "v", "delay_ms": 5})), Ok(Loaded::value("v")));
        assert_eq!(ends(&json!({"value": {"hex": "ff"}})), Ok(Loaded::value(&b"\xff"[..])));
        assert_eq!(ends(&json!({"value": "v", "error": false})), Ok(Loaded::value("v")));
        for load in [json!("not_found"), json!({"not_found": true}), json!({"value": null})] {
            assert_eq!(ends(&load), Ok(Loaded::not_found()), "{load}");
        }
        assert_eq!(ends(&json!({"error": "boom", "delay_ms": 0})), Err("boom".to_owned()));
        assert_eq!(ends(&json!({"error": true})), Err("error".to_owned()));
        assert_eq!(ends(&json!("error")), Err("error".to_owned()));
        let panics = Load::parse(&json!({"panic": true})).unwrap();
        assert!(matches!(panics.end, End::Panic));
        for load in [json!(1), json!("vanish"), json!({}), json!({"value": 1}), json!({"valu": ""})]
        {
            assert!(ends(&load).is_err(), "{load}");
        }
    }

    #[test]
    fn a_batch_load_returns_the_requested_keys_and_the_unnamed_ones() {
        let load = Load::parse(&json!({"values": {"a": "1", "b": null, "x": "extra"}})).unwrap();
        let keys = ["a", "b", "c"].map(str::to_owned);
        let asked = |names: &[&str]| {
            let names: Vec<Key> = names.iter().map(|&name| name.into()).collect();
            load.many(&keys, &names).unwrap()
        };
        let entry = |key: &'static str, loaded: Loaded| (Key::from(key), loaded);
        let extra = entry("x", Loaded::value("extra"));
        let (a, b) = (entry("a", Loaded::value("1")), entry("b", Loaded::not_found()));
        assert_eq!(asked(&["b", "c"]), [b.clone(), extra.clone()]);
        assert_eq!(asked(&["a", "b", "c"]), [a, b, extra]);
    }
}
