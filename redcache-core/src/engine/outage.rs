//! Reads while Redis is known to be unavailable: a stale entry answers at once.

use std::time::Instant;

use super::env::{Cx, Env};
use super::ops::Machine;
use super::state::Engine;
use crate::api::answer::Answer;
use crate::api::config::OnRedisDown;
use crate::api::key::Key;
use crate::api::observer::AnswerEvent;
use crate::event::Outcome;
use crate::flow::call::OpId;

impl Engine {
    /// Answer a read of one key with its stale entry, if Redis is unavailable and there is an
    /// entry.
    pub(super) fn answer_in_outage(
        &mut self,
        cx: Cx,
        key: &Key,
        fresh_since: Option<Instant>,
    ) -> Option<OpId> {
        let answer = self.env.stale_in_outage(cx, key, fresh_since)?;
        Some(self.env.answered(vec![answer], |mut answers| {
            Outcome::Answer(answers.pop().map_or_else(|| Ok(Answer::none()), Ok))
        }))
    }

    /// Answer a read of several keys with their stale entries, if Redis is unavailable and each key
    /// has one.
    pub(super) fn answer_all_in_outage(
        &mut self,
        cx: Cx,
        keys: &[Key],
        fresh_since: Option<Instant>,
    ) -> Option<OpId> {
        if keys.is_empty() {
            return None;
        }
        let stale = keys.iter().map(|key| self.env.stale_in_outage(cx, key, fresh_since));
        let answers = stale.collect::<Option<Vec<_>>>()?;
        let all = |answers: Vec<Answer>| Outcome::Answers(answers.into_iter().map(Ok).collect());
        Some(self.env.answered(answers, all))
    }
}

impl Env {
    /// Return the stale entry for a read that would fail, because the last attempt to connect has
    /// failed.
    fn stale_in_outage(&self, cx: Cx, key: &Key, fresh_since: Option<Instant>) -> Option<Answer> {
        let is_down = !self.router.is_ready()
            && matches!(self.readiness, Some(Err(_)))
            && self.config.on_redis_down == OnRedisDown::Fail;
        if is_down { self.stale_since(cx, key, fresh_since) } else { None }
    }

    /// Start a call that ends at once with stale answers.
    fn answered(
        &mut self,
        answers: Vec<Answer>,
        outcome: impl FnOnce(Vec<Answer>) -> Outcome,
    ) -> OpId {
        let op = self.start_op(Machine::Plain);
        self.stats.stale += answers.len() as u64;
        for answer in &answers {
            let source = answer.source;
            self.observe(|| AnswerEvent::new(source));
        }
        self.finish(op, outcome(answers));
        op
    }
}
