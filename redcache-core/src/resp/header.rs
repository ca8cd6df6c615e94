//! The first line of a frame: a type byte and a text.
//!
//! Numbers must be written as servers write them: digits without a leading zero or plus sign. Any
//! other length is a sign of a malformed stream, in which replies would be paired with the wrong
//! commands.

/// The type of a frame, named by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Simple,
    Error,
    Integer,
    Bulk,
    BlobError,
    Verbatim,
    Null,
    Boolean,
    Double,
    BigNumber,
    Array,
    Set,
    Map,
    Push,
    Attribute,
    /// A part of a streamed frame. No server sends one.
    Streamed,
}

impl Kind {
    /// Read a type byte; `None` if RESP3 has no such type.
    #[inline]
    pub(super) fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            b'+' => Self::Simple,
            b'-' => Self::Error,
            b':' => Self::Integer,
            b'$' => Self::Bulk,
            b'!' => Self::BlobError,
            b'=' => Self::Verbatim,
            b'_' => Self::Null,
            b'#' => Self::Boolean,
            b',' => Self::Double,
            b'(' => Self::BigNumber,
            b'*' => Self::Array,
            b'~' => Self::Set,
            b'%' => Self::Map,
            b'>' => Self::Push,
            b'|' => Self::Attribute,
            b';' | b'.' => Self::Streamed,
            _ => return None,
        })
    }
}

/// The length of a missing bulk string or array in RESP2, which servers also send in RESP3.
pub(super) const NIL: &[u8] = b"-1";

/// The format name and colon in front of a verbatim payload.
pub(super) const VERBATIM_PREFIX: usize = 4;

/// Read a number of at most 18 digits and its CRLF at the front of `bytes`. Return the bytes behind
/// it, too.
///
/// After `None`, `bytes` may still start with a number that the general path reads. This finds the
/// end and reads the number in one pass, which is the fast path for complete headers.
#[inline]
pub(super) fn short_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    let mut taken = 0;
    loop {
        let digit = bytes.get(taken)?.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        taken += 1;
    }
    let plain = taken == 1 || (2..=18).contains(&taken) && bytes[0] != b'0';
    let rest = bytes[taken..].strip_prefix(b"\r\n")?;
    plain.then_some((number, rest))
}

/// Read a length or an element count.
#[inline]
pub(super) fn length(text: &[u8]) -> Option<usize> {
    usize::try_from(digits(text)?).ok()
}

/// Read an integer.
#[inline]
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', text @ ..] => match digits(text)? {
            0 => None,
            magnitude => 0_i64.checked_sub_unsigned(magnitude),
        },
        text => i64::try_from(digits(text)?).ok(),
    }
}

/// Read a double, infinities and NaN included.
pub(super) fn double(text: &[u8]) -> Option<f64> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// Read a boolean.
pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"t" => Some(true),
        b"f" => Some(false),
        _ => None,
    }
}

/// Return whether a text is an integer of any size.
pub(super) fn is_big_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Read decimal digits without a sign or leading zero.
#[inline]
fn digits(text: &[u8]) -> Option<u64> {
    // Every value of 19 digits fits into a u64, and no i64 has more.
    const DIGITS_MAX: usize = 19;

    match text {
        [b'0', _, ..] | [] => None,
        _ if text.len() > DIGITS_MAX => None,
        _ => text.iter().try_fold(0, |number, byte| {
            let digit = byte.wrapping_sub(b'0');
            (digit < 10).then(|| number * 10 + u64::from(digit))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_plain_digits_only() {
        let cases: [(&[u8], Option<usize>); 14] = [
            (b"0", Some(0)),
            (b"7", Some(7)),
            (b"64", Some(64)),
            (b"9999999999999999999", Some(9_999_999_999_999_999_999)),
            (b"10000000000000000000", None),
            (b"", None),
            (b"-1", None),
            (b"-0", None),
            (b"+1", None),
            (b"00", None),
            (b"07", None),
            (b"1 ", None),
            (b"1a", None),
            (b"1/", None),
        ];
        for (text, expected) in cases {
            assert_eq!(length(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn short_number_takes_its_line_and_leaves_the_rest() {
        assert_eq!(short_number(b"0\r\n"), Some((0, b"".as_slice())));
        assert_eq!(short_number(b"64\r\nrest"), Some((64, b"rest".as_slice())));
        let longest = Some((999_999_999_999_999_999, b"".as_slice()));
        assert_eq!(short_number(b"999999999999999999\r\n"), longest);

        let too_long: [&[u8]; 2] = [b"1000000000000000000\r\n", b"18446744073709551617\r\n"];
        let malformed: [&[u8]; 5] = [b"07\r\n", b"00\r\n", b"-1\r\n", b"\r\n", b"1\n\n"];
        let incomplete: [&[u8]; 3] = [b"1\r", b"1", b""];
        for bytes in [too_long.as_slice(), &malformed, &incomplete].concat() {
            assert_eq!(short_number(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn integers_cover_the_whole_i64_and_nothing_more() {
        let cases: [(&[u8], Option<i64>); 14] = [
            (b"0", Some(0)),
            (b"-1", Some(-1)),
            (b"42", Some(42)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"9223372036854775808", None),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"-9223372036854775809", None),
            (b"-", None),
            (b"--1", None),
            (b"-0", None),
            (b"-01", None),
            (b"+1", None),
            (b"01", None),
            (b"1.0", None),
        ];
        for (text, expected) in cases {
            assert_eq!(integer(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn doubles_may_be_infinite_or_not_a_number() {
        let cases: [(&[u8], Option<f64>); 9] = [
            (b"3", Some(3.0)),
            (b"-1.5", Some(-1.5)),
            (b"1e+20", Some(1e20)),
            (b"inf", Some(f64::INFINITY)),
            (b"-inf", Some(f64::NEG_INFINITY)),
            (b"", None),
            (b"1,5", None),
            (b" 1", None),
            (b"\xff", None),
        ];
        for (text, expected) in cases {
            assert_eq!(double(text), expected, "{}", text.escape_ascii());
        }
        assert!(double(b"nan").unwrap().is_nan());
        assert!(double(b"-nan").unwrap().is_nan());
    }

    #[test]
    fn big_numbers_are_digits_of_any_count() {
        assert!(is_big_number(b"3492890328409238509324850943850943825024385"));
        assert!(is_big_number(b"-1"));
        for text in [b"".as_slice(), b"-", b"+1", b"1a", b"--1"] {
            assert!(!is_big_number(text), "{}", text.escape_ascii());
        }
    }
}
