//! The entries seen in the near cache of a process.

use bytes::Bytes;

use crate::clock::Micros;

/// The entries of one key seen in a near cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct NearHistory {
    pub(crate) latest: Option<Copy>,
    /// Entries that were invalidated or overwritten by their own process and have not come back.
    /// They must not be used as stale values.
    pub(crate) ended: Vec<(Option<Bytes>, Micros)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) value: Option<Bytes>,
    pub(crate) until: Micros,
    pub(crate) link: usize,
    /// When the connection was lost that would invalidate it.
    pub(crate) lost_at: Option<Micros>,
}

impl NearHistory {
    pub(crate) fn see(&mut self, now: Micros, copy: Copy) {
        self.ended.retain(|(value, _)| *value != copy.value);
        if let Some(before) = self.latest.replace(copy)
            && self.latest.as_ref().is_some_and(|copy| copy.value != before.value)
        {
            self.ended.push((before.value, now));
        }
    }

    pub(crate) fn end(&mut self, now: Micros) {
        self.ended.extend(self.latest.take().map(|copy| (copy.value, now)));
    }
}
