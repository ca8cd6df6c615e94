//! Values and invalidations on their way to a process, in the order of the stream.

use redcache_core::protocol::Script;

use crate::clock::Micros;
use crate::deque::pop_front_if;
use crate::history::Content;
use crate::state::executed::{Executed, Verb};
use crate::state::link::{KeyNews, Link, Notice};
use crate::state::near_history::ReadValue;
use crate::state::world::World;

impl World {
    /// Record the values and TTLs in a reply.
    pub(crate) fn note_read_values(
        &mut self,
        link: usize,
        executed: &Executed,
        frame: &[u8],
        ends_at: u64,
    ) {
        let publishes = matches!(executed.verb, Verb::Script(Script::Publish | Script::Replace));
        let is_read = executed.verb == Verb::Read;
        if frame[0] != b'-' && (publishes || executed.reads_ttl) {
            for part in &executed.parts {
                self.processes[executed.process].learned[part.key].ttl_known = self.stamp;
            }
        }
        if !self.plan.allows_stale() || frame[0] == b'-' || !(publishes || is_read) {
            return;
        }
        let clock = self.processes[executed.process].clock;
        let near_max = executed.sent_at.saturating_add(clock.stretch(self.plan.times.near));
        for part in &executed.parts {
            let value = match self.keys[part.key].content() {
                Content::Value(value) => Some(value.clone()),
                Content::NotFound => None,
                Content::Absent | Content::Lock => continue,
            };
            let left = self.ttl_of(part.key).map_or(Micros::MAX, |ttl| clock.stretch(ttl));
            let expires_at = executed.sent_at.saturating_add(left);
            let news = &mut self.links[link].news;
            if executed.reads_ttl {
                let same = |news: &&mut (u64, KeyNews)| matches!(&news.1, KeyNews::Read(key, _) if *key == part.key);
                if let Some((_, KeyNews::Read(_, read))) = news.iter_mut().rev().find(same) {
                    read.expires_at = read.expires_at.min(expires_at);
                    read.fresh_until = read.fresh_until.min(expires_at);
                }
                continue;
            }
            let fresh_until = near_max.min(expires_at);
            let read = ReadValue { value, fresh_until, expires_at, link };
            news.push_back((ends_at, KeyNews::Read(part.key, read)));
        }
    }

    /// Apply the values and invalidations that have reached the process, in the order of the
    /// stream.
    pub(crate) fn note_key_news(&mut self, link: usize) {
        let now = self.now;
        let Link { process, ref mut news, ref down, .. } = self.links[link];
        let near_history = &mut self.processes[process].near_history;
        while let Some((_, news)) = pop_front_if(news, |(end, _)| *end <= down.delivered) {
            match news {
                KeyNews::Read(key, read) => near_history[key].read(read),
                KeyNews::Changed(Notice::Key(key)) => near_history[key].invalidate(now),
                KeyNews::Changed(Notice::All) => {
                    near_history.iter_mut().for_each(|history| history.invalidate(now));
                }
            }
        }
    }
}
