//! The fingerprint of a type: the names and kinds of its fields, as serde sees them.
//!
//! A deserializer without input records the fields that the type requests, and returns samples for
//! them. It runs once per variant of an enum. A type that rejects all samples ends the record
//! early, so the fingerprint does not depend on later fields. If a later field changes, set
//! [`schema_version`](crate::TypedCacheBuilder::schema_version).

mod probe;
mod record;

use serde::de::DeserializeOwned;

use probe::Probe;
use record::Record;

/// The number of runs of the deserializer.
const RUNS_MAX: usize = 512;

/// Return the fingerprint of `V`.
pub(crate) fn fingerprint<V: DeserializeOwned>() -> u64 {
    let mut record = Record::default();
    for _ in 0..RUNS_MAX {
        record.begin_run();
        let is_accepted = V::deserialize(Probe::new(&mut record)).is_ok();
        if !record.plan_next_run(is_accepted) {
            break;
        }
    }
    record.hash()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::num::NonZeroU32;
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;

    mod one {
        use super::*;

        #[derive(Deserialize)]
        pub(super) struct User {
            _id: u64,
            _visits: Option<NonZeroU32>,
            _tags: Vec<String>,
            _shape: Shape,
        }

        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its shape matters")]
        pub(super) enum Shape {
            _Point,
            _Circle(f64),
            _Square { _side: u32 },
        }
    }

    mod other {
        use super::*;

        #[derive(Deserialize)]
        pub(super) struct User {
            _id: u64,
            _visits: Option<NonZeroU32>,
            _tags: Vec<String>,
            _shape: Shape,
        }

        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its shape matters")]
        pub(super) enum Shape {
            _Point,
            _Circle(f64),
            _Square { _side: u64 },
        }
    }

    #[derive(Deserialize)]
    struct Tree {
        _children: Vec<Self>,
        _parent: Option<Box<Self>>,
        _value: Expression,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    enum Expression {
        _Sum(Box<Self>, Box<Self>),
        _Number(i64),
    }

    #[test]
    fn a_change_far_below_changes_the_fingerprint() {
        assert_ne!(fingerprint::<one::User>(), fingerprint::<other::User>());
        assert_eq!(fingerprint::<one::User>(), fingerprint::<one::User>());
        assert_ne!(fingerprint::<Vec<u32>>(), fingerprint::<Vec<u64>>());
        assert_ne!(fingerprint::<(u8, Option<String>)>(), fingerprint::<(u8, String)>());
        assert_ne!(fingerprint::<HashMap<String, f32>>(), fingerprint::<HashMap<String, f64>>());
    }

    #[test]
    fn types_that_contain_themselves_or_reject_samples_have_one() {
        assert_eq!(fingerprint::<Tree>(), fingerprint::<Tree>());
        assert_ne!(
            fingerprint::<(std::net::IpAddr, u8)>(),
            fingerprint::<(std::net::IpAddr, u16)>()
        );
        assert_ne!(fingerprint::<(NonZeroU32, u8)>(), fingerprint::<(NonZeroU32, u16)>());
        assert_ne!(fingerprint::<(Duration, u8)>(), fingerprint::<(Duration, u16)>());
    }
}
