//! Keys that are read back from their names.

use std::borrow::Cow;
use std::str::FromStr;

use crate::key::CacheKey;

/// A type whose values can be read from the parts that they have written.
///
/// The loader of a refresh gets its keys from their names in Redis. All owned types that implement
/// [`CacheKey`] can be read: integers, `String`, bytes, `bool`, `char`, tuples, and with the
/// feature `uuid` also UUIDs.
///
/// # Examples
///
/// ```
/// use redcache::{CacheKey, KeyParts, KeyWriter, ParsedKey};
///
/// struct Seat {
///     flight: String,
///     row: u16,
/// }
///
/// impl CacheKey for Seat {
///     fn write_to(&self, out: &mut KeyWriter<'_>) {
///         (&*self.flight, self.row).write_to(out);
///     }
/// }
///
/// impl ParsedKey for Seat {
///     fn read_from(parts: &mut KeyParts<'_>) -> Option<Self> {
///         let (flight, row) = ParsedKey::read_from(parts)?;
///         Some(Self { flight, row })
///     }
/// }
/// ```
pub trait ParsedKey: CacheKey + Sized {
    /// Take the parts of a key. Return `None` if no key has these parts.
    fn read_from(parts: &mut KeyParts<'_>) -> Option<Self>;
}

/// The parts of a key while it is read.
#[derive(Debug)]
pub struct KeyParts<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> KeyParts<'a> {
    /// Take the next part, without its escapes. Return `None` if there is none, or if its escapes
    /// are malformed.
    pub fn part(&mut self) -> Option<Cow<'a, [u8]>> {
        let rest = self.rest.take()?;
        let part = match rest.iter().position(|byte| *byte == b'/') {
            Some(end) => {
                self.rest = Some(&rest[end + 1..]);
                &rest[..end]
            }
            None => rest,
        };
        unescaped(part)
    }

    /// Take the next part as a text that spells a `T`.
    pub fn parse<T: FromStr>(&mut self) -> Option<T> {
        std::str::from_utf8(&self.part()?).ok()?.parse().ok()
    }
}

/// Return the key with these parts.
pub(crate) fn parse<K: ParsedKey>(parts: &[u8]) -> Option<K> {
    let mut parts = KeyParts { rest: Some(parts) };
    K::read_from(&mut parts).filter(|_| parts.rest.is_none())
}

fn unescaped(part: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !part.contains(&b'%') {
        return Some(part.into());
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(part.len()), part);
    while let [byte, after @ ..] = rest {
        (rest, _) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok()?;
                (after, bytes.push(u8::from_str_radix(digits, 16).ok()?))
            }
            (b'%', _) => return None,
            (byte, after) => (after, bytes.push(*byte)),
        };
    }
    Some(bytes.into())
}

impl ParsedKey for String {
    fn read_from(parts: &mut KeyParts<'_>) -> Option<Self> {
        Self::from_utf8(parts.part()?.into_owned()).ok()
    }
}

impl ParsedKey for Vec<u8> {
    fn read_from(parts: &mut KeyParts<'_>) -> Option<Self> {
        parts.part().map(Cow::into_owned)
    }
}

impl<const N: usize> ParsedKey for [u8; N] {
    fn read_from(parts: &mut KeyParts<'_>) -> Option<Self> {
        Self::try_from(&*parts.part()?).ok()
    }
}

/// Read values from their text.
macro_rules! by_text {
    ($($key:ty)*) => { $(
        impl ParsedKey for $key {
            fn read_from(parts: &mut KeyParts<'_>) -> Option<Self> {
                parts.parse()
            }
        }
    )* };
}

by_text!(bool char u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

#[cfg(feature = "uuid")]
by_text!(uuid::Uuid);

/// Read tuples from the parts of their elements.
macro_rules! tuples {
    ($($($element:ident)+;)*) => { $(
        impl<$($element: ParsedKey),+> ParsedKey for ($($element,)+) {
            fn read_from(parts: &mut KeyParts<'_>) -> Option<Self> {
                Some(($($element::read_from(parts)?,)+))
            }
        }
    )* };
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::{KeyWriter, Name, Style};

    fn written(key: &impl CacheKey) -> Name {
        let mut name = Name::new();
        key.write_to(&mut KeyWriter::new(&mut name, Style::Escaped));
        name
    }

    #[test]
    fn parts_of_no_key_are_refused() {
        assert_eq!(parse::<u8>(b"256"), None);
        assert_eq!(parse::<u8>(b"1/2"), None);
        assert_eq!(parse::<(u8, u8)>(b"1"), None);
        assert_eq!(parse::<String>(b"%"), None);
        assert_eq!(parse::<String>(b"%zz"), None);
        assert_eq!(parse::<String>(b"%FF"), None);
        assert_eq!(parse::<[u8; 2]>(b"abc"), None);
        assert_eq!(parse::<String>(b""), Some(String::new()));
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_it_was_written(
            key in any::<(String, (i64, bool), Vec<u8>, char)>(),
            text in any::<String>(),
            number in any::<u128>(),
        ) {
            prop_assert_eq!(parse(&written(&key)), Some(key));
            prop_assert_eq!(parse(&written(&text)), Some(text));
            prop_assert_eq!(parse(&written(&number)), Some(number));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in any::<Vec<u8>>()) {
            let _ = parse::<(String, u8)>(&bytes);
            let _ = parse::<Vec<u8>>(&bytes);
        }
    }
}
