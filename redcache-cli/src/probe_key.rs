//! The names of the keys that the command writes.

use redcache_core::protocol::{Slot, SlotOwner};

use crate::exit::{Exit, Failure};

/// The largest number of names that are tried for a key of a node. The probability that they all
/// miss one slot of 16,384 is about 10^-5.
const NAMES_MAX: u32 = 200_000;

/// Return a key prefix that is unique to this run.
///
/// # Errors
///
/// Fails if the operating system has no randomness.
pub(crate) fn scratch(prefix: &str, purpose: &str) -> Result<String, Failure> {
    let random = getrandom::u64().map_err(|error| {
        let text = format!("the operating system has no randomness: {error}");
        Failure::new(Exit::Unreachable, text)
    })?;
    Ok(format!("{prefix}redcache:{purpose}:{random:016x}:"))
}

/// Return a key that begins with `scratch` and whose slot belongs to `owner`. Without an owner, any
/// slot will do. Return `None` if no name was found.
pub(crate) fn key_of(scratch: &str, owner: Option<&SlotOwner>) -> Option<String> {
    let Some(owner) = owner else { return Some(format!("{scratch}0")) };
    let is_owned =
        |slot: Slot| owner.slots.iter().any(|&(first, last)| (first..=last).contains(&slot));
    (0..NAMES_MAX).map(|number| format!("{scratch}{number}")).find(|key| {
        let slot = Slot::of(key.as_bytes());
        is_owned(slot)
    })
}

#[cfg(test)]
mod tests {
    use redcache_core::{Address, protocol, resp};

    use super::*;

    #[test]
    fn a_key_of_a_node_has_a_slot_of_the_node() {
        let reply = b"*1\r\n*3\r\n:100\r\n:101\r\n*2\r\n$1\r\nh\r\n:7001\r\n";
        let asked = Address::Tcp { host: "h".to_owned(), port: 1 };
        let owners = protocol::slot_owners(&resp::decode(reply).unwrap(), &asked).unwrap();
        let key = key_of("p:", Some(&owners[0])).unwrap();
        assert!((100..=101).contains(&Slot::of(key.as_bytes()).index()), "{key}");
        assert!(scratch("app:", "doctor").unwrap().starts_with("app:redcache:doctor:"));
    }
}
