//! A parsed line of input.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::commit::Commit;
use crate::field::{bytes, milliseconds};
use crate::load::Load;

/// The default TTL.
const TTL: Duration = Duration::from_secs(60);

/// A request line: an order, and the id of its answer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: Value,
    pub(crate) order: Result<Order, String>,
}

/// The order of a line.
#[derive(Debug)]
pub(crate) enum Order {
    Call(Op),
    Cancel { target: Value },
}

/// A call of the cache.
#[derive(Debug)]
pub(crate) enum Op {
    Get { key: String },
    GetWith { key: String, ttl: Duration, load: Load },
    GetManyWith { keys: Vec<String>, ttl: Duration, load: Load },
    SetWith { key: String, ttl: Duration, load: Load },
    Insert { key: String, value: Bytes, ttl: Duration },
    Remove { key: String },
    Change { keys: Vec<String>, commit: Commit },
    Touch { key: String, ttl: Duration },
    Fork { key: String },
    Stats,
    Close,
}

impl Op {
    /// Return the counter of the loader's runs, which outlives the call.
    pub(crate) fn loads(&self) -> Arc<AtomicU32> {
        match self {
            Self::GetWith { load, .. }
            | Self::GetManyWith { load, .. }
            | Self::SetWith { load, .. } => load.runs(),
            Self::Get { .. }
            | Self::Insert { .. }
            | Self::Remove { .. }
            | Self::Change { .. }
            | Self::Touch { .. }
            | Self::Fork { .. }
            | Self::Stats
            | Self::Close => Arc::default(),
        }
    }
}

impl Request {
    pub(crate) fn parse(line: &[u8]) -> Self {
        let fields: Map<String, Value> = match serde_json::from_slice(line) {
            Ok(fields) => fields,
            Err(error) => {
                let order = Err(format!("the line is no JSON object: {error}"));
                return Self { id: Value::Null, order };
            }
        };
        let id = fields.get("id").cloned().unwrap_or_default();
        Self { id, order: order(&Fields(fields)) }
    }
}

fn order(fields: &Fields) -> Result<Order, String> {
    let op = match fields.text("op")?.as_str() {
        "cancel" => {
            let target = fields.0.get("target").ok_or("`target` is missing")?.clone();
            return Ok(Order::Cancel { target });
        }
        "get" => Op::Get { key: fields.text("key")? },
        "get_with" => {
            let (key, ttl, load) = (fields.text("key")?, fields.ttl()?, fields.load()?);
            Op::GetWith { key, ttl, load: load.of_one()? }
        }
        "get_many_with" => {
            let (keys, ttl, load) = (fields.keys()?, fields.ttl()?, fields.load()?);
            Op::GetManyWith { keys, ttl, load: load.of_many()? }
        }
        "insert_with" => {
            let (key, ttl, load) = (fields.text("key")?, fields.ttl()?, fields.load()?);
            Op::SetWith { key, ttl, load: load.of_one()? }
        }
        "insert" => {
            let value = fields.0.get("value").ok_or("`value` is missing")?;
            let value = bytes(value).ok_or(NOT_A_VALUE)?;
            Op::Insert { key: fields.text("key")?, value, ttl: fields.ttl()? }
        }
        "change" => Op::Change { keys: fields.keys()?, commit: fields.commit()? },
        "remove" => Op::Remove { key: fields.text("key")? },
        "touch" => Op::Touch { key: fields.text("key")?, ttl: fields.ttl()? },
        "fork" => Op::Fork { key: fields.text("key")? },
        "stats" => Op::Stats,
        "close" => Op::Close,
        other => return Err(format!("`{other}` is no op of node")),
    };
    Ok(Order::Call(op))
}

const NOT_A_VALUE: &str = "`value` must be a string or {\"hex\":\"…\"}";

struct Fields(Map<String, Value>);

impl Fields {
    fn commit(&self) -> Result<Commit, String> {
        let (file, row) = (self.text("file")?, self.text("row")?);
        Ok(Commit { file, row, pause: milliseconds(&self.0, "pause_ms", Duration::ZERO)? })
    }

    fn text(&self, name: &str) -> Result<String, String> {
        match self.0.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("`{name}` must be a string")),
            None => Err(format!("`{name}` is missing")),
        }
    }

    fn keys(&self) -> Result<Vec<String>, String> {
        let keys = self.0.get("keys").and_then(Value::as_array).map(|keys| {
            keys.iter().map(|key| key.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        keys.flatten().ok_or_else(|| "`keys` must be an array of strings".to_owned())
    }

    fn ttl(&self) -> Result<Duration, String> {
        milliseconds(&self.0, "ttl_ms", TTL)
    }

    fn load(&self) -> Result<Load, String> {
        Load::parse(self.0.get("load").ok_or("`load` is missing")?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_that_is_not_understood_keeps_its_id() {
        for (line, id, fault) in [
            ("{", json!(null), "no JSON object"),
            ("[]", json!(null), "no JSON object"),
            (r#"{"op":"get","id":1}"#, json!(1), "`key` is missing"),
            (r#"{"op":"get","id":1,"key":7}"#, json!(1), "`key` must be a string"),
            (r#"{"op":"jump","id":"a"}"#, json!("a"), "`jump` is no op"),
            (r#"{"id":[1]}"#, json!([1]), "`op` is missing"),
            (r#"{"op":"cancel","id":2}"#, json!(2), "`target` is missing"),
            (r#"{"op":"touch","id":2,"key":"k","ttl_ms":-1}"#, json!(2), "`ttl_ms` must be"),
            (r#"{"op":"get_with","id":2,"key":"k"}"#, json!(2), "`load` is missing"),
            (
                r#"{"op":"get_with","id":2,"key":"k","load":{"values":{}}}"#,
                json!(2),
                "`value` is missing",
            ),
            (r#"{"op":"get_many_with","id":2,"keys":"k"}"#, json!(2), "`keys` must be"),
            (r#"{"op":"insert","id":2,"key":"k","value":1}"#, json!(2), "`value` must be"),
        ] {
            let request = Request::parse(line.as_bytes());
            assert_eq!(request.id, id, "{line}");
            let error = request.order.unwrap_err();
            assert!(error.contains(fault), "{line}: {error}");
        }
    }
}
