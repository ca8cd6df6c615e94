//! The frame that replaces a value in a reply if the value is too large to be read.

/// The code of the error that replaces a payload.
const CODE: &str = "OVERSIZED";

/// Return the error frame that replaces a payload of this length.
pub(crate) fn stand_in(length: usize) -> Vec<u8> {
    let text = format!("{CODE} {length}");
    format!("!{}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Return the length of the payload that an error replaces.
pub(crate) fn omitted_length(error: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(error).ok()?;
    text.strip_prefix(CODE)?.strip_prefix(' ')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Frame, decode};

    #[test]
    fn the_length_of_the_omitted_payload_is_kept() {
        let frame = stand_in(1 << 30);
        let Frame::Error(text) = decode(&frame).unwrap() else { panic!() };
        assert_eq!(omitted_length(text), Some(1 << 30));
        for other in ["OVERSIZED", "OVERSIZED x", "ERR 1", "OVERSIZED1"] {
            assert_eq!(omitted_length(other.as_bytes()), None, "{other}");
        }
    }
}
