//! Fields of lines: durations and bytes.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

/// Return a duration from a whole number of milliseconds.
pub(crate) fn milliseconds(
    fields: &Map<String, Value>,
    name: &str,
    default: Duration,
) -> Result<Duration, String> {
    match fields.get(name) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .map(Duration::from_millis)
            .ok_or_else(|| format!("`{name}` must be a whole number of milliseconds")),
    }
}

/// Return bytes from text or from `{"hex":"00ff"}`.
pub(crate) fn bytes(value: &Value) -> Option<Bytes> {
    if let Value::String(text) = value {
        return Some(text.clone().into());
    }
    let digits = value.get("hex")?.as_str()?;
    let pairs = digits.is_ascii().then(|| digits.as_bytes().chunks(2))?;
    let byte = |pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    };
    pairs.map(byte).collect()
}

/// Return bytes as text, or as `{"hex":"00ff"}`.
pub(crate) fn written(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            serde_json::json!({ "hex": hex })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be() {
        for (bytes, value) in [
            (&b""[..], json!("")),
            ("\u{e9}\n\0".as_bytes(), json!("\u{e9}\n\0")),
            (b"\x00\xff", json!({ "hex": "00ff" })),
        ] {
            assert_eq!(written(bytes), value);
            assert_eq!(super::bytes(&value).unwrap(), bytes);
        }
        for value in [json!({"hex": "0"}), json!({"hex": "zz"}), json!({"hex": "é"}), json!(7)] {
            assert_eq!(bytes(&value), None, "{value}");
        }
    }
}
