//! Typed keys, and their names in Redis.
//!
//! A name is `NAMESPACE:PART/PART…`. The characters `:`, `/` and `%` within a part are escaped. The
//! last `:` of a name therefore ends the namespace, and no two keys, and no two namespaces, share a
//! name.

use std::fmt::{self, Write};

use smallvec::SmallVec;

/// The name of a key. A name of usual length is not allocated.
pub(crate) type Name = SmallVec<[u8; 128]>;

/// A type whose values are keys: integers, text, bytes, `bool`, `char`, tuples, and with the
/// feature `uuid` also UUIDs.
///
/// A custom key type writes its parts. Two different keys must have different parts, and a borrowed
/// key must have the same parts as an owned one.
///
/// # Examples
///
/// ```
/// use redcache::{CacheKey, KeyWriter};
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
/// ```
pub trait CacheKey {
    /// Append the parts of the key.
    fn write_to(&self, out: &mut KeyWriter<'_>);
}

/// The name of a key while it is written.
#[derive(Debug)]
pub struct KeyWriter<'a> {
    name: &'a mut Name,
    style: Style,
    has_parts: bool,
}

/// The form of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Parts are escaped and joined by `/`.
    Escaped,
    /// Parts are joined by `:`, as other programs write them.
    Plain,
}

impl<'a> KeyWriter<'a> {
    pub(crate) fn new(name: &'a mut Name, style: Style) -> Self {
        Self { name, style, has_parts: false }
    }

    /// Append a part of any bytes.
    pub fn part(&mut self, bytes: &[u8]) {
        self.begin_part();
        self.push(bytes);
    }

    /// Append the text of `part` as a part, without a temporary `String`.
    pub fn display(&mut self, part: impl fmt::Display) {
        self.begin_part();
        // Writing to a name does not fail.
        let _ = write!(Escaping(self), "{part}");
    }

    /// Append parts that are already escaped and joined.
    #[cfg(feature = "macros")]
    pub(crate) fn escaped(&mut self, parts: &[u8]) {
        self.unescaped_part(parts);
    }

    /// Append a part that needs no escapes.
    #[inline]
    fn unescaped_part(&mut self, bytes: &[u8]) {
        self.begin_part();
        // For few bytes it is cheaper than to insert a slice.
        self.name.extend(bytes.iter().copied());
    }

    #[inline]
    fn begin_part(&mut self) {
        if self.has_parts {
            self.name.push(match self.style {
                Style::Escaped => b'/',
                Style::Plain => b':',
            });
        }
        self.has_parts = true;
    }

    fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.style == Style::Escaped
            && let Some(at) = rest.iter().position(|byte| is_escaped(*byte))
        {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let byte = usize::from(rest[at]);
            self.name.extend_from_slice(&rest[..at]);
            self.name.extend_from_slice(&[b'%', DIGITS[byte >> 4], DIGITS[byte & 15]]);
            rest = &rest[at + 1..];
        }
        self.name.extend_from_slice(rest);
    }
}

/// Formats into a part.
struct Escaping<'w, 'a>(&'w mut KeyWriter<'a>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push(text.as_bytes());
        Ok(())
    }
}

/// Return whether a byte has a meaning in names, or breaks lines of logs.
fn is_escaped(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f || matches!(byte, b'%' | b'/' | b':')
}

impl<K: CacheKey + ?Sized> CacheKey for &K {
    fn write_to(&self, out: &mut KeyWriter<'_>) {
        (**self).write_to(out);
    }
}

impl CacheKey for str {
    fn write_to(&self, out: &mut KeyWriter<'_>) {
        out.part(self.as_bytes());
    }
}

impl CacheKey for String {
    fn write_to(&self, out: &mut KeyWriter<'_>) {
        out.part(self.as_bytes());
    }
}

impl CacheKey for [u8] {
    fn write_to(&self, out: &mut KeyWriter<'_>) {
        out.part(self);
    }
}

impl CacheKey for Vec<u8> {
    fn write_to(&self, out: &mut KeyWriter<'_>) {
        out.part(self);
    }
}

impl<const N: usize> CacheKey for [u8; N] {
    fn write_to(&self, out: &mut KeyWriter<'_>) {
        out.part(self);
    }
}

/// Write values as their text.
macro_rules! by_text {
    ($($key:ty)*) => { $(
        impl CacheKey for $key {
            fn write_to(&self, out: &mut KeyWriter<'_>) {
                out.display(self);
            }
        }
    )* };
}

by_text!(bool char);

/// Write integers in decimal, several times faster than as text.
macro_rules! integers {
    ($($key:ty)*) => { $(
        impl CacheKey for $key {
            #[inline]
            fn write_to(&self, out: &mut KeyWriter<'_>) {
                out.unescaped_part(itoa::Buffer::new().format(*self).as_bytes());
            }
        }
    )* };
}

integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

#[cfg(feature = "uuid")]
by_text!(uuid::Uuid);

/// Write tuples as the parts of their elements.
macro_rules! tuples {
    ($($($element:ident)+;)*) => { $(
        impl<$($element: CacheKey),+> CacheKey for ($($element,)+) {
            fn write_to(&self, out: &mut KeyWriter<'_>) {
                #[expect(non_snake_case, reason = "each element has the name of its type")]
                let ($($element,)+) = self;
                $($element.write_to(out);)+
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

    fn name(style: Style, key: &impl CacheKey) -> String {
        let mut name = Name::new();
        key.write_to(&mut KeyWriter::new(&mut name, style));
        String::from_utf8(name.to_vec()).unwrap()
    }

    #[test]
    fn names_are_readable_and_escape_the_bytes_that_have_a_meaning() {
        for (written, expected) in [
            (name(Style::Escaped, &42_u64), "42"),
            (name(Style::Escaped, &-7_i128), "-7"),
            (name(Style::Escaped, &"Ada"), "Ada"),
            (name(Style::Escaped, &("a/b", "c:d%", ' ')), "a%2Fb/c%3Ad%25/%20"),
            (name(Style::Escaped, &(true, (1_u8, "é"))), "true/1/é"),
            (name(Style::Plain, &("user:1", 2)), "user:1:2"),
        ] {
            assert_eq!(written, expected);
        }
    }

    #[cfg(feature = "uuid")]
    #[test]
    fn a_uuid_is_written_with_hyphens() {
        let id = uuid::Uuid::from_u128(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8);
        assert_eq!(name(Style::Escaped, &id), "67e55044-10b1-426f-9247-bb680e5fe0c8");
    }

    proptest! {
        #[test]
        fn no_two_pairs_of_namespace_and_key_share_a_name(
            one in ("[a:/%]{1,4}", proptest::collection::vec("[a:/% ~]{0,3}", 2)),
            other in ("[a:/%]{1,4}", proptest::collection::vec("[a:/% ~]{0,3}", 2)),
        ) {
            let full = |(namespace, parts): &(String, Vec<String>)| {
                let key = (&*parts[0], &*parts[1]);
                format!("{namespace}:{}", name(Style::Escaped, &key))
            };
            prop_assert_eq!(full(&one) == full(&other), one == other);
        }

        #[test]
        fn an_escaped_part_has_no_byte_with_a_meaning(bytes in any::<Vec<u8>>()) {
            let mut name = Name::new();
            bytes.write_to(&mut KeyWriter::new(&mut name, Style::Escaped));
            let is_hex = |digits: &[u8]| digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit);
            for (at, byte) in name.iter().enumerate() {
                let is_fine = *byte != b'%' || name.get(at + 1..at + 3).is_some_and(is_hex);
                prop_assert!(is_fine && !matches!(byte, b':' | b'/' | b' '));
            }
        }
    }
}
