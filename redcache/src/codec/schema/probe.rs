//! A deserializer that records the fields that a type requests, and returns samples for them.

use serde::de::value::{Error, StrDeserializer, U32Deserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::record::Record;

/// Texts that common types accept.
const TEXTS: [&str; 6] =
    ["", "1970-01-01T00:00:00Z", "00000000-0000-0000-0000-000000000000", "127.0.0.1", "1", "a"];

/// The deserializer of one place.
pub(super) struct Probe<'r> {
    record: &'r mut Record,
}

impl<'r> Probe<'r> {
    pub(super) fn new(record: &'r mut Record) -> Self {
        Self { record }
    }

    fn note(&mut self, fact: impl std::fmt::Display) -> usize {
        self.record.note(fact);
        self.record.sample()
    }
}

/// Deserialize a small number as the sample.
macro_rules! numbers {
    ($($method:ident $visit:ident $number:ty;)*) => { $(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
            let sample = self.note(stringify!($number));
            visitor.$visit(sample as $number)
        }
    )* };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    numbers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
        deserialize_f32 visit_f32 f32;
        deserialize_f64 visit_f64 f64;
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        self.note("any");
        visitor.visit_unit()
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let sample = self.note("bool");
        visitor.visit_bool(sample % 2 == 1)
    }

    fn deserialize_char<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        self.note("char");
        visitor.visit_char('a')
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let sample = self.note("text");
        visitor.visit_str(TEXTS[sample % TEXTS.len()])
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let sample = self.note("bytes");
        visitor.visit_bytes(&[0; 16][..[16, 0, 4, 8, 12, 1][sample % 6]])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let sample = self.note("option");
        if sample > 0 || self.record.is_deep() {
            return visitor.visit_none();
        }
        within(self.record, "?", |probe| visitor.visit_some(probe))
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        self.note("unit");
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        within(self.record, name, |probe| visitor.visit_newtype_struct(probe))
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let sample = self.note("sequence");
        let left = if self.record.is_deep() { 0 } else { [1, 0, 2, 3, 4, 16][sample % 6] };
        visitor.visit_seq(Elements { record: self.record, left, names: None })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.record.note(format_args!("{len} elements"));
        visitor.visit_seq(Elements { record: self.record, left: len, names: Some(ELEMENTS) })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let sample = self.note("map");
        let left = usize::from(sample == 0 && !self.record.is_deep());
        visitor.visit_map(Entries { record: self.record, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.record.note(format_args!("struct {name} {}", fields.join(",")));
        if self.record.is_deep() {
            return Err(Error::custom("the type contains itself"));
        }
        visitor.visit_map(Fields { record: self.record, left: fields })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.record.note(format_args!("enum {name} {}", variants.join(",")));
        if self.record.is_deep() {
            return Err(Error::custom("the type contains itself"));
        }
        let variant = self.record.variant(name, variants.len());
        let name = variants.get(variant).copied().unwrap_or_default();
        visitor.visit_enum(Variant { record: self.record, variant, name })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// The names of the elements of tuples.
const ELEMENTS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];

fn within<T>(
    record: &mut Record,
    name: &'static str,
    probe: impl FnOnce(Probe<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    record.enter(name);
    let result = probe(Probe::new(record));
    record.leave();
    result
}

struct Elements<'r> {
    record: &'r mut Record,
    left: usize,
    names: Option<&'static [&'static str]>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let name = self.names.and_then(|names| names.get(self.left)).copied().unwrap_or("[]");
        within(self.record, name, |probe| seed.deserialize(probe)).map(Some)
    }
}

struct Entries<'r> {
    record: &'r mut Record,
    left: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        within(self.record, "key", |probe| seed.deserialize(probe)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        within(self.record, "value", |probe| seed.deserialize(probe))
    }
}

struct Fields<'r> {
    record: &'r mut Record,
    left: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(name) = self.left.first() else { return Ok(None) };
        let name: StrDeserializer<'_, Error> = (*name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let Some((name, left)) = self.left.split_first() else {
            return Err(Error::custom("no field is left"));
        };
        self.left = left;
        within(self.record, name, |probe| seed.deserialize(probe))
    }
}

struct Variant<'r> {
    record: &'r mut Record,
    variant: usize,
    name: &'static str,
}

impl<'de, 'r> EnumAccess<'de> for Variant<'r> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let index: U32Deserializer<Error> = (self.variant as u32).into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        within(self.record, self.name, |probe| seed.deserialize(probe))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        within(self.record, self.name, |probe| probe.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        within(self.record, self.name, |probe| probe.deserialize_struct("", fields, visitor))
    }
}
