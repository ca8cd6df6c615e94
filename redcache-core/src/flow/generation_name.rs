//! The names of keys in a namespace that can be cleared: `NAMESPACE:KEY%~gGENERATION`. The
//! generation itself is under `NAMESPACE:%~generation`.
//!
//! Views escape `:` and `%` in keys, so the last `:` ends the namespace, and no key of an
//! application contains `%~`.

use super::generation::Generation;
use crate::api::key::Key;

/// The mark before the generation in the name of a key.
pub const GENERATION_MARK: &[u8] = b"%~g";

/// The name of the generation of a namespace, behind the prefix that the namespace gives its keys.
pub const GENERATION_KEY: &str = "%~generation";

const DIGITS: usize = 16;

/// The name of a key in one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GenerationName<'a> {
    /// The name up to the mark.
    base: &'a [u8],
    generation: &'a [u8],
}

impl<'a> GenerationName<'a> {
    /// Split a name that contains a generation.
    pub(crate) fn of(name: &'a [u8]) -> Option<Self> {
        let (rest, generation) = name.split_at_checked(name.len().checked_sub(DIGITS)?)?;
        let base = rest.strip_suffix(GENERATION_MARK)?;
        (base.contains(&b':') && generation.iter().all(u8::is_ascii_hexdigit))
            .then_some(Self { base, generation })
    }

    /// Return the key that holds the generation of the namespace.
    pub(crate) fn generation_key(self) -> Key {
        let end = self.base.iter().rposition(|byte| *byte == b':').map_or(0, |colon| colon + 1);
        [&self.base[..end], GENERATION_KEY.as_bytes()].concat().into()
    }

    /// Return the name of the same key in another generation; `None` if it is the same one.
    pub(crate) fn renamed(self, generation: Generation) -> Option<Key> {
        let digits = generation.as_bytes();
        (self.generation != digits).then(|| [self.base, GENERATION_MARK, digits].concat().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_generation_has_a_key_of_the_generation_and_other_names() {
        let name = GenerationName::of(b"app:user:4%3A2/7%~g0000000000c0ffee").unwrap();
        assert_eq!(name.generation_key(), Key::from("app:user:%~generation"));
        assert_eq!(name.renamed(Generation::of_number(0xc0_ffee)), None);
        let renamed = name.renamed(Generation::of_number(1)).unwrap();
        assert_eq!(renamed, Key::from("app:user:4%3A2/7%~g0000000000000001"));
    }

    #[test]
    fn other_names_have_no_generation() {
        for name in ["", "user:42", "user:42%~g123", "42%~g0000000000c0ffee", "u:%~g00000000c0ffee"]
        {
            assert_eq!(GenerationName::of(name.as_bytes()), None, "{name}");
        }
        assert_eq!(GenerationName::of(b"user:42%~g0000000000coffee"), None);
    }
}
