//! What the world has seen in the near cache of a process.

use bytes::Bytes;

use crate::clock::Micros;

/// What the world has seen of one key in a near cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct NearHistory {
    pub(crate) latest: Option<Copy>,
    /// NearHistory that ended before their time, by a report of the server or a write of their own process, and have not
    /// come back since. They are good for nothing any more.
    pub(crate) ended: Vec<(Option<Bytes>, Micros)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) value: Option<Bytes>,
    pub(crate) until: Micros,
    pub(crate) link: usize,
    /// When the connection was lost that would have told of its change.
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
