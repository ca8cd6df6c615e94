//! Pushes that invalidate keys.

use redcache_core::resp::Frame;

/// The keys that a push invalidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Invalidated<'a> {
    Keys(Vec<&'a [u8]>),
    /// A database was flushed.
    All,
}

/// Read a push; `None` if it is about something else.
pub(crate) fn invalidated<'a>(push: &Frame<'a>) -> Option<Invalidated<'a>> {
    let Frame::Push(parts) = push else { return None };
    match &parts[..] {
        [Frame::Bulk(b"invalidate"), Frame::Null, ..] => Some(Invalidated::All),
        [Frame::Bulk(b"invalidate"), Frame::Array(keys), ..] => {
            let keys = keys.iter().filter_map(|key| match key {
                Frame::Bulk(key) => Some(*key),
                _ => None,
            });
            Some(Invalidated::Keys(keys.collect()))
        }
        _ => None,
    }
}

/// Return whether a push invalidates this key.
pub(crate) fn is_invalidated(push: &Frame<'_>, key: &[u8]) -> bool {
    match invalidated(push) {
        Some(Invalidated::Keys(keys)) => keys.contains(&key),
        Some(Invalidated::All) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push<'a>(kind: &'a [u8], about: Frame<'a>) -> Frame<'a> {
        Frame::Push(vec![Frame::Bulk(kind), about])
    }

    #[test]
    fn pushes_name_keys_or_all_keys() {
        let keys = || Frame::Array(vec![Frame::Bulk(b"a"), Frame::Bulk(b"b")]);
        let found = invalidated(&push(b"invalidate", keys()));
        assert_eq!(found, Some(Invalidated::Keys(vec![b"a", b"b"])));
        assert_eq!(invalidated(&push(b"invalidate", Frame::Null)), Some(Invalidated::All));
        assert_eq!(invalidated(&push(b"message", keys())), None);
        assert_eq!(invalidated(&Frame::Null), None);
        assert!(is_invalidated(&push(b"invalidate", keys()), b"b"));
        assert!(!is_invalidated(&push(b"invalidate", keys()), b"c"));
        assert!(is_invalidated(&push(b"invalidate", Frame::Null), b"c"));
    }
}
